import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { checkServerIdentity, type PeerCertificate, type ConnectionOptions as TlsOptions } from 'node:tls';
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  ErrorCode,
  Events,
  type NatsConnection,
  type Status,
} from 'nats';
import type { Logger } from 'pino';
import { seldom } from '../lib/log.ts';
import { atMost, pause, whenAborted } from '../lib/loop.ts';
import type { NatsNames } from './names.ts';
import { type Denial, describeDenied, describeRefusal } from './refusal.ts';

type NatsLinkOptions = {
  readonly login: Login;
  readonly names: NatsNames;
  readonly log: Logger;
  /** A new connection: what is subscribed to on it lasts through its reconnects, until the signal aborts. */
  readonly onOpen: (connection: NatsConnection, signal: AbortSignal) => void;
  readonly onUp: (connection: NatsConnection) => void;
  readonly onDown: () => void;
  readonly onDenied: (denial: Denial) => void;
};

const RETRY_MS = 1_000;
/** Between two tries of the client to come back by itself, to whatever server. */
const RECONNECT_MS = 250;
/** After that we take over from the client, which neither says why it is refused nor limits how often it asks. */
const GIVE_UP_MS = 3_000;
const LOG_INTERVAL_MS = 30_000;
const DENIED_FOR_MS = 60_000;
const DRAIN_MS = 1_500;
const STOP_MS = 1_800;
/** A server that refuses us will do so the next time. */
const REFUSALS = new Set<string>([
  ErrorCode.AuthorizationViolation,
  ErrorCode.AuthenticationExpired,
  ErrorCode.AccountExpired,
]);

/**
 * A connection to NATS for as long as it is wanted. One server is tried each second, whatever their number, and each
 * half minute the log says why there is no connection. Files of the log-in are read again at each connection.
 */
export class NatsLink {
  readonly #options: NatsLinkOptions;
  readonly #stopping = new AbortController();
  readonly #complaints = seldom(LOG_INTERVAL_MS);
  readonly #denials = seldom(LOG_INTERVAL_MS);
  #fault: string | undefined = 'it has not been connected yet';
  #denied: { readonly text: string; readonly at: number } | undefined;
  /** Servers that the cluster has announced. */
  #learned: readonly string[] = [];
  #isUp = false;
  /** Since when there has been no connection; undefined while there is one. */
  #lostAt: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: NatsLinkOptions) {
    this.#options = options;
  }

  /** Why there is no connection, or what it is not allowed to do. */
  get fault(): string | undefined {
    const denied = this.#denied !== undefined && Date.now() - this.#denied.at < DENIED_FOR_MS;
    return this.#fault ?? (denied ? this.#denied?.text : undefined);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // A server that hangs in the middle of a login is not waited for; a connection that comes after all is closed.
    await atMost(STOP_MS, this.#running ?? Promise.resolve());
  }

  /** Leaves the server of this connection for the next one; false if there is no other. */
  async useNextServer(connection: NatsConnection): Promise<boolean> {
    const { login, log } = this.#options;
    if (new Set([...hostsOf(login), ...this.#learned]).size < 2 || connection.isClosed()) return false;
    log.warn({ server: connection.getServer() }, 'JetStream does not work on this server; trying the next one');
    await connection.reconnect();
    return true;
  }

  async #run(): Promise<void> {
    const { login, log } = this.#options;
    const { signal } = this.#stopping;
    for (let tries = randomInt(login.servers.length); !signal.aborted; tries += 1) {
      const all = [...new Set([...hostsOf(login), ...this.#learned])];
      const first = tries % all.length;
      const servers = [...all.slice(first), ...all.slice(0, first)];
      try {
        await this.#probe(servers.slice(0, 1));
        await this.#hold(servers);
      } catch (error) {
        this.#fault = describeRefusal(error);
        const facts = { reason: this.#fault, server: servers[0] };
        if (this.#complaints.note() !== undefined) {
          log.error(facts, 'NATS cannot be reached; trying one server each second');
        }
      }
      await pause(RETRY_MS, signal);
    }
  }

  /**
   * Whether this server takes us. Asked with a connection of its own because the client, connecting for the first time,
   * goes through what a cluster says of its servers without end and without pause when all of them refuse.
   */
  async #probe(servers: string[]): Promise<void> {
    const { login, names } = this.#options;
    const once = { reconnect: false, ignoreClusterUpdates: true };
    const connection = await connect({ ...connectionOptions(login, names), servers, ...once });
    const { version } = connection.info ?? {};
    await connection.close();
    if (judgeServerVersion(version) === 'too old') {
      throw new Error(`nats-server ${version ?? ''} is older than 2.9`);
    }
  }

  /** Returns when the connection has been closed for good. */
  async #hold(servers: string[]): Promise<void> {
    const { login, names, onOpen, onDown } = this.#options;
    const { signal } = this.#stopping;
    let known = servers.length;
    this.#lostAt = Date.now();
    const connection = await connect({
      ...connectionOptions(login, names),
      servers,
      noRandomize: true,
      // An error thrown here ends the client's attempts to connect.
      reconnectDelayHandler: () => {
        if (signal.aborted || Date.now() - (this.#lostAt ?? Date.now()) > GIVE_UP_MS) throw new Error('out of time');
        // One try in RECONNECT_MS, over all servers that are known.
        return RECONNECT_MS * known;
      },
    });
    this.#learned = connection.info?.connect_urls ?? [];
    known = Math.max(known, this.#learned.length);
    const lifetime = new AbortController();
    const forget = whenAborted(signal, () => void this.#close(connection));
    onOpen(connection, lifetime.signal);
    // Not awaited: the client never ends this iterator, not even when the connection closes.
    void this.#watchStatus(connection);
    this.#up(connection);
    await connection.closed();
    this.#down();
    onDown();
    lifetime.abort();
    forget();
  }

  async #watchStatus(connection: NatsConnection): Promise<void> {
    const { log, onDown } = this.#options;
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect) {
        this.#down();
        onDown();
        log.error('NATS is disconnected; reconnecting');
      } else if (status.type === Events.Reconnect) {
        log.info('NATS is connected again');
        this.#up(connection);
      } else if (status.type === Events.Error) {
        this.#noteError(status);
      }
    }
  }

  #noteError({ data, permissionContext }: Status): void {
    if (typeof data === 'string' && REFUSALS.has(data)) this.#lostAt = 0;
    if (permissionContext === undefined) return;
    this.#options.onDenied(permissionContext);
    this.#denied = { text: describeDenied(permissionContext), at: Date.now() };
    if (this.#denials.note() !== undefined) {
      this.#options.log.error({ reason: this.#denied.text }, 'NATS does not allow what is needed');
    }
  }

  #up(connection: NatsConnection): void {
    this.#fault = undefined;
    this.#denied = undefined;
    this.#lostAt = undefined;
    this.#isUp = true;
    this.#complaints.reset();
    this.#options.onUp(connection);
  }

  #down(): void {
    this.#isUp = false;
    this.#lostAt ??= Date.now();
    this.#fault ??= 'the connection is lost';
  }

  async #close(connection: NatsConnection): Promise<void> {
    try {
      // Draining needs the server; without it there is nobody to drain to.
      if (this.#isUp) await atMost(DRAIN_MS, connection.drain());
      await connection.close();
    } catch (error) {
      this.#options.log.debug({ err: error }, 'closing the NATS connection');
    }
  }
}

export type LoginFiles = {
  readonly credentialsFile?: string | undefined;
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
};

type Login = { readonly servers: readonly string[]; readonly files?: LoginFiles | undefined };

/** `host:port` of each server. */
function hostsOf({ servers }: Login): string[] {
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
    // A changed password may be changed back, so connecting is retried for ever.
    ignoreAuthErrorAbort: true,
    timeout: 5_000,
    // A stack trace for each request, for errors whose text says enough.
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

/** 2.9 brought heartbeats for pull consumers, without which a broken one goes unnoticed. */
const OLDEST: Version = [2, 9, 0];
/** Before this a nats-server that is killed can lose messages or strand them: docs/nats-server.md has the list. */
const SOUND: Version = [2, 12, 5];

type Version = readonly [major: number, minor: number, patch: number];

/** Whether a nats-server of this version can be worked with, and whether it survives being killed. */
export function judgeServerVersion(text: string | undefined): 'too old' | 'risky' | 'sound' {
  const [, major, minor, patch] = /^v?(\d+)\.(\d+)\.(\d+)/.exec(text ?? '') ?? [];
  if (major === undefined) return 'risky';
  const version: Version = [Number(major), Number(minor), Number(patch)];
  if (isOlder(version, OLDEST)) return 'too old';
  return isOlder(version, SOUND) ? 'risky' : 'sound';
}

function isOlder(version: Version, other: Version): boolean {
  const difference = version.map((part, index) => part - (other[index] ?? 0)).find((part) => part !== 0);
  return difference !== undefined && difference < 0;
}
