import type { ConnectionOptions } from 'nats';

/**
 * What the client does not take from URLs: the credentials of the first one that has some (`user:password@`, or a
 * token alone), and that `tls://` means TLS or nothing.
 */
export function serverOptions(
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
