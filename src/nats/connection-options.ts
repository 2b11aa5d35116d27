import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { checkServerIdentity, type PeerCertificate, type ConnectionOptions as TlsOptions } from 'node:tls';
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
  const tls = tlsOptions(servers, files);
  const { credentialsFile } = files;
  return {
    ...userOf(servers),
    ...(tls && { tls }),
    ...(credentialsFile !== undefined && { authenticator: credsAuthenticator(() => readFileSync(credentialsFile)) }),
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

/** The client does not take them from URLs: those of the first one that has some (`user:password@`, or a token alone). */
function userOf(urls: readonly string[]): Pick<ConnectionOptions, 'user' | 'pass' | 'token'> {
  const parsed = urls.map((url) => new URL(url));
  const { username = '', password = '' } = parsed.find((url) => url.username !== '') ?? {};
  if (username === '') return {};
  const user = decodeURIComponent(username);
  return password === '' ? { token: user } : { user, pass: decodeURIComponent(password) };
}

/**
 * With `tls://` or a file, the connection is TLS or nothing. Undefined: the server decides. The client reads the files at
 * each connection itself.
 */
function tlsOptions(urls: readonly string[], { caFile, certFile, keyFile }: LoginFiles): ConnectionOptions['tls'] {
  const files = Object.entries({ caFile, certFile, keyFile }).filter(([, path]) => path !== undefined);
  if (files.length === 0 && !urls.some((url) => new URL(url).protocol === 'tls:')) return undefined;
  // `as`: the client hands all of it to tls.connect(), and its type names only what it reads itself.
  return { ...Object.fromEntries(files), checkServerIdentity: checkNameOrAddress } as ConnectionOptions['tls'];
}

/**
 * Node.js calls it on the options of tls.connect(). The client leaves `servername` empty for a server whose address alone
 * it knows, and Node.js would then compare the certificate with "localhost".
 */
function checkNameOrAddress(this: TlsOptions, host: string, certificate: PeerCertificate): Error | undefined {
  const address = this.socket instanceof Socket ? this.socket.remoteAddress : undefined;
  return checkServerIdentity(this.servername || (address ?? host), certificate);
}
