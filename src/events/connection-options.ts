import { readFileSync } from 'node:fs';
import { type ConnectionOptions, credsAuthenticator } from 'nats';
import type { NatsNames } from './nats-names.ts';

export type LoginFiles = {
  readonly credentialsFile?: string | undefined;
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
};

export type Login = { readonly servers: readonly string[]; readonly files?: LoginFiles | undefined };

/** `host:port` of each server. */
export function hostsOf({ servers }: Login): string[] {
  return servers.map((url) => new URL(url).host);
}

/** How we connect, whatever the servers are, and notice that we are not connected any more. */
export function connectionOptions({ servers, files = {} }: Login, names: NatsNames): ConnectionOptions {
  return {
    ...serverOptions(servers),
    ...fileOptions(files),
    name: 'webhooks-engine',
    inboxPrefix: names.inboxPrefix,
    maxReconnectAttempts: -1,
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
function serverOptions(urls: readonly string[]): Pick<ConnectionOptions, 'user' | 'pass' | 'token' | 'tls'> {
  const parsed = urls.map((url) => new URL(url));
  const { username = '', password = '' } = parsed.find((url) => url.username !== '') ?? {};
  return {
    ...credentials(decodeURIComponent(username), decodeURIComponent(password)),
    ...(parsed.some(({ protocol }) => protocol === 'tls:') ? { tls: {} } : {}),
  };
}

/** The client reads certificates at each connection itself. */
function fileOptions({ credentialsFile, ...files }: LoginFiles): Pick<ConnectionOptions, 'authenticator' | 'tls'> {
  const tls = Object.fromEntries(Object.entries(files).filter(([, path]) => path !== undefined));
  return {
    ...(Object.keys(tls).length > 0 ? { tls } : {}),
    ...(credentialsFile === undefined
      ? {}
      : { authenticator: credsAuthenticator(() => readFileSync(credentialsFile)) }),
  };
}

function credentials(user: string, pass: string): Pick<ConnectionOptions, 'user' | 'pass' | 'token'> {
  if (user === '') return {};
  return pass === '' ? { token: user } : { user, pass };
}
