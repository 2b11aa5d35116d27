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
import { createLogThrottle } from '../lib/log.ts';
import { pause, waitAtMost, whenAborted } from '../lib/waiting.ts';
import type { NatsNames } from './names.ts';
import { type Denial, describeDenied, describeRefusal } from './refusal.ts';

type NatsLinkOptions = {
  readonly login: Login;
  readonly names: NatsNames;
  readonly log: Logger;
  /** Called with a new connection; subscriptions made on it survive its reconnects, until the signal aborts. */
  readonly onOpen: (connection: NatsConnection, signal: AbortSignal) => void;
  readonly onUp: (connection: NatsConnection) => void;
  readonly onDown: () => void;
  readonly onDenied: (denial: Denial) => void;
};

const RETRY_MS = 1_000;
/** Milliseconds between two reconnect attempts of the client, to any server. */
const RECONNECT_MS = 250;
/**
 * Milliseconds after which this class replaces the client's reconnecting, which does not report why a server refuses
 * the connection and does not limit how often it retries.
 */
const CLIENT_RECONNECT_MS = 3_000;
const LOG_INTERVAL_MS = 30_000;
/** Milliseconds for which a denial counts. While the permission is missing, the engine tries again at least every 30 s. */
const DENIED_FOR_MS = 60_000;
const DRAIN_MS = 1_500;
const STOP_MS = 1_800;
/** Errors of a server that refuses the log-in; it will refuse the next one, too. */
const REFUSALS = new Set<string>([
  ErrorCode.AuthorizationViolation,
  ErrorCode.AuthenticationExpired,
  ErrorCode.AccountExpired,
]);

/**
 * Keeps the process connected to NATS. While there is no connection, it tries one server per second, whatever their
 * number, and logs the reason every 30 s. Each connection reads the files of the log-in again.
 */
export class NatsLink {
  readonly #options: NatsLinkOptions;
  readonly #stopping = new AbortController();
  readonly #connectFailures = createLogThrottle(LOG_INTERVAL_MS);
  readonly #denials = createLogThrottle(LOG_INTERVAL_MS);
  #fault: string | undefined = 'not connected yet';
  #denied: { readonly text: string; readonly at: number; readonly isNeeded: boolean } | undefined;
  /** Servers that the cluster has announced. */
  #learned: readonly string[] = [];
  #isUp = false;
  /** When the connection was lost, on the clock of performance.now(); undefined while there is one. */
  #lostAt: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: NatsLinkOptions) {
    this.#options = options;
  }

  /** Why there is no connection, or which permission is missing without which NATS cannot be used. */
  get fault(): string | undefined {
    return this.#fault ?? this.#deniedText(true);
  }

  /** Which permission is missing that only roll calls need. */
  get warning(): string | undefined {
    return this.#deniedText(false);
  }

  #deniedText(isNeeded: boolean): string | undefined {
    if (this.#denied?.isNeeded !== isNeeded || performance.now() - this.#denied.at >= DENIED_FOR_MS) return undefined;
    return this.#denied.text;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // A server that stalls during the log-in is not waited for; if the connection succeeds later, it is closed.
    await waitAtMost(STOP_MS, this.#running ?? Promise.resolve());
  }

  /** Reconnects to the next server; returns false if there is no other. */
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
        if (this.#connectFailures.note() !== undefined) {
          log.error(facts, 'NATS is unavailable; trying one server per second');
        }
      }
      await pause(RETRY_MS, signal);
    }
  }

  /**
   * Throws if this server refuses the log-in or is too old. Uses a connection of its own: during its first connect, if
   * all servers refuse, the client retries the servers that the cluster announces endlessly and without a pause.
   */
  async #probe(servers: string[]): Promise<void> {
    const { login, names } = this.#options;
    const once = { reconnect: false, ignoreClusterUpdates: true };
    const connection = await connect({ ...connectionOptions(login, names), servers, ...once });
    const { version } = connection.info ?? {};
    await connection.close();
    if (assessServerVersion(version) === 'too old') {
      throw new Error(`nats-server ${version ?? ''} is older than 2.9`);
    }
  }

  /** Connects, and returns when the connection is closed and will not be reconnected. */
  async #hold(servers: string[]): Promise<void> {
    const { login, names, onOpen, onDown } = this.#options;
    const { signal } = this.#stopping;
    let known = servers.length;
    this.#lostAt = performance.now();
    const connection = await connect({
      ...connectionOptions(login, names),
      servers,
      noRandomize: true,
      // An error thrown here ends the client's attempts to connect.
      reconnectDelayHandler: () => {
        if (signal.aborted || performance.now() - (this.#lostAt ?? performance.now()) > CLIENT_RECONNECT_MS)
          throw new Error('the time to reconnect is over');
        // One attempt per RECONNECT_MS over all known servers.
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
        log.info('NATS is reconnected');
        this.#up(connection);
      } else if (status.type === Events.Error) {
        this.#noteError(status);
      }
    }
  }

  #noteError({ data, permissionContext }: Status): void {
    if (typeof data === 'string' && REFUSALS.has(data)) this.#lostAt = Number.NEGATIVE_INFINITY;
    if (permissionContext === undefined) return;
    this.#options.onDenied(permissionContext);
    const isNeeded = !permissionContext.subject.startsWith(this.#options.names.processesSubject(''));
    // A denial that matters is not hidden by one that does not.
    if (isNeeded || this.fault === undefined) {
      this.#denied = { text: describeDenied(permissionContext), at: performance.now(), isNeeded };
    }
    if (this.#denials.note() !== undefined) {
      this.#options.log.error({ reason: describeDenied(permissionContext) }, 'NATS denies a required permission');
    }
  }

  #up(connection: NatsConnection): void {
    this.#fault = undefined;
    this.#denied = undefined;
    this.#lostAt = undefined;
    this.#isUp = true;
    this.#connectFailures.reset();
    this.#options.onUp(connection);
  }

  #down(): void {
    this.#isUp = false;
    this.#lostAt ??= performance.now();
    this.#fault ??= 'the connection is lost';
  }

  async #close(connection: NatsConnection): Promise<void> {
    try {
      // Draining needs a connected server.
      if (this.#isUp) await waitAtMost(DRAIN_MS, connection.drain());
      await connection.close();
    } catch (error) {
      this.#options.log.debug({ err: error }, 'closing the NATS connection failed');
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

/** Options of every connection, independent of the server. */
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
    // Detects a dead connection after 30 s.
    pingInterval: 10_000,
    maxPingOut: 3,
    // A changed password may be changed back, so the client keeps retrying.
    ignoreAuthErrorAbort: true,
    timeout: 5_000,
    // Avoids a stack trace for each request; the text of the client's errors is sufficient.
    noAsyncTraces: true,
  };
}

/**
 * The client ignores credentials in URLs. Returns those of the first URL that contains some (`user:password@`, or a
 * token alone).
 */
function userOf(urls: readonly string[]): Pick<ConnectionOptions, 'user' | 'pass' | 'token'> {
  const parsed = urls.map((url) => new URL(url));
  const { username = '', password = '' } = parsed.find((url) => url.username !== '') ?? {};
  if (username === '') return {};
  const user = decodeURIComponent(username);
  return password === '' ? { token: user } : { user, pass: decodeURIComponent(password) };
}

/**
 * With `tls://` or a file, the connection requires TLS. Undefined: the server decides. The client reads the files at
 * each connect.
 */
function tlsOptions(urls: readonly string[], { caFile, certFile, keyFile }: LoginFiles): ConnectionOptions['tls'] {
  const files = Object.entries({ caFile, certFile, keyFile }).filter(([, path]) => path !== undefined);
  if (files.length === 0 && !urls.some((url) => new URL(url).protocol === 'tls:')) return undefined;
  // `as`: the client passes all options to tls.connect(), and its type lists only those that it reads.
  return { ...Object.fromEntries(files), checkServerIdentity: checkNameOrAddress } as ConnectionOptions['tls'];
}

/**
 * Node.js calls this function on the options of tls.connect(). The client leaves `servername` empty for a server that
 * is known by its address only, and Node.js would then compare the certificate with "localhost".
 */
function checkNameOrAddress(this: TlsOptions, host: string, certificate: PeerCertificate): Error | undefined {
  const address = this.socket instanceof Socket ? this.socket.remoteAddress : undefined;
  return checkServerIdentity(this.servername || (address ?? host), certificate);
}

/** 2.9 introduced heartbeats for pull consumers, without which a broken one goes unnoticed. */
const OLDEST: Version = [2, 9, 0];
/** Before this version, a killed nats-server can lose or strand messages: docs/nats-server.md has the list. */
const SOUND: Version = [2, 12, 5];

type Version = readonly [major: number, minor: number, patch: number];

/**
 * Whether a nats-server of this version can be used, and whether it survives a kill without losing or stranding
 * messages.
 */
export function assessServerVersion(text: string | undefined): 'too old' | 'risky' | 'sound' {
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
