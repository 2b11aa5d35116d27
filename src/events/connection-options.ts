import type { ConnectionOptions } from 'nats';

/** How we connect to these servers, and notice that we are not connected any more. */
export function connectionOptions(urls: readonly string[]): ConnectionOptions {
  return {
    ...serverOptions(urls),
    name: 'webhooks-engine',
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    // A connection that died without a word is noticed after half a minute.
    pingInterval: 10_000,
    maxPingOut: 3,
    // A password that was changed may be changed back; giving up would be for good.
    ignoreAuthErrorAbort: true,
    timeout: 5_000,
    // A stack trace for each message that is published, for errors whose text says enough.
    noAsyncTraces: true,
  };
}

/**
 * What the client does not take from URLs: the credentials of the first one that has some (`user:password@`, or a
 * token alone), and that `tls://` means TLS or nothing.
 */
function serverOptions(
  urls: readonly string[],
): Pick<ConnectionOptions, 'servers' | 'user' | 'pass' | 'token' | 'tls'> {
  const parsed = urls.map((url) => new URL(url));
  const { username = '', password = '' } = parsed.find((url) => url.username !== '') ?? {};
  return {
    servers: parsed.map(({ host }) => host),
    ...credentials(decodeURIComponent(username), decodeURIComponent(password)),
    ...(parsed.some(({ protocol }) => protocol === 'tls:') ? { tls: {} } : {}),
  };
}

function credentials(user: string, pass: string): Pick<ConnectionOptions, 'user' | 'pass' | 'token'> {
  if (user === '') return {};
  return pass === '' ? { token: user } : { user, pass };
}
