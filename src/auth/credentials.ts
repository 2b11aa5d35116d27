import { createHash, timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { InFlight } from '../lib/in-flight.ts';
import { isUuid } from '../lib/uuid7.ts';
import type { Database } from '../postgres/client.ts';
import type { Clock } from '../postgres/clock.ts';
import { failureLevel } from '../postgres/errors.ts';
import type { NotificationListener } from '../postgres/listener.ts';
import { ApiKeyLookup, type ApiKeyUse, createApiKeyUse, isApiKey, liveApiKeys } from './api-keys.ts';
import { createVerifyJwt, type JwtConfig } from './jwt.ts';
import type { Viewer } from './viewer.ts';

/**
 * Returns the viewer of an `Authorization` header, undefined if the header is not valid for any reason. Rejects if it cannot
 * be checked because Postgres or the JWKS is unavailable.
 */
export type Authenticate = (authorization: string | undefined) => Promise<Viewer | undefined>;

type Verifiers = {
  /** Each of them has full access. */
  readonly adminApiKeys: readonly string[];
  readonly findApiKey: (key: string) => Promise<Viewer | undefined>;
  /** If undefined, JWTs are refused. */
  readonly verifyJwt: ((token: string) => Promise<Viewer | undefined>) | undefined;
};

export function createAuthenticate({ adminApiKeys, findApiKey, verifyJwt }: Verifiers): Authenticate {
  const admins = adminApiKeys.map((key) => {
    const viewer: Viewer = { scope: 'ADMIN', credentialId: 'admin', issuer: issuerOf(key) };
    return { isKey: isOneOf([key]), viewer };
  });
  return async (authorization) => {
    const admin = admins.find(({ isKey }) => isKey(authorization));
    if (admin !== undefined) return admin.viewer;
    const credentials = credentialsOf(authorization);
    return isApiKey(credentials) ? findApiKey(credentials) : verifyJwt?.(credentials);
  };
}

/** Returns a function that compares an `Authorization` header with these secrets. */
export function isOneOf(secrets: readonly string[]): (authorization: string | undefined) => boolean {
  const expected = secrets.map(sha256);
  return (authorization) => {
    const given = sha256(credentialsOf(authorization));
    // Digests have equal lengths, as timingSafeEqual requires, and the duration of the comparison reveals nothing.
    return expected.some((digest) => timingSafeEqual(digest, given));
  };
}

function credentialsOf(authorization: string | undefined): string {
  return authorization?.replace(/^bearer +/i, '').trim() ?? '';
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The id by which sessions refer to one of the operator's keys. 32 bits of its hash do not help to guess the key. */
function issuerOf(adminApiKey: string): string {
  const bits = sha256(`issuer of sessions ${adminApiKey}`).toString('hex').slice(0, 8);
  return `00000000-0000-8000-8000-0000${bits}`;
}

type CredentialsOptions = {
  /** Each of them has full access. */
  readonly adminApiKeys: readonly string[];
  readonly jwt: JwtConfig | undefined;
  readonly database: Pick<Database, 'pool' | 'clock'>;
  readonly notifications: NotificationListener;
  readonly log: Logger;
};

const CHECK_MS = 3_000;

/**
 * Authenticates credentials and ends their streams and sockets when they expire or are revoked. Postgres announces
 * revocations to all processes. If an announcement is lost, cached keys expire after 5 s, and open ones are checked every 3 s.
 */
export class Credentials {
  readonly authenticate: Authenticate;
  readonly #options: CredentialsOptions;
  readonly #adminIssuers: readonly string[];
  readonly #lookup: ApiKeyLookup;
  readonly #live = new LiveCredentials();
  readonly #use: ApiKeyUse;
  readonly #checks = new InFlight();
  #timer: NodeJS.Timeout | undefined;
  #checking = false;

  constructor(options: CredentialsOptions) {
    const { adminApiKeys, jwt, database, notifications, log } = options;
    this.#options = options;
    this.#adminIssuers = adminApiKeys.map(issuerOf);
    this.#lookup = new ApiKeyLookup(database.pool, this.#adminIssuers);
    this.#use = createApiKeyUse(database.pool, log);
    this.authenticate = createAuthenticate({
      adminApiKeys,
      findApiKey: async (key) => {
        const viewer = await this.#lookup.find(key);
        // A cached session may have expired.
        if (viewer === undefined || lifeLeftMs(viewer, database.clock) <= 0) return undefined;
        this.#use.note(viewer.credentialId);
        return viewer;
      },
      verifyJwt: jwt && createVerifyJwt(jwt, log),
    });
    notifications.subscribe({
      onNotification: { api_key_revoked: this.revoked },
      onGap: () => {
        this.#lookup.forgetAll();
        void this.#checks.track(this.#check());
      },
    });
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#options.notifications.start();
    this.#timer = setInterval(() => void this.#checks.track(this.#check()), CHECK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#options.notifications.stop();
    await this.#checks.settled();
    await this.#use.settled();
  }

  /** Returns a signal for a stream or socket, which must end with its credential. */
  watch(viewer: Viewer): CredentialWatch {
    return this.#live.watch(viewer, lifeLeftMs(viewer, this.#options.database.clock));
  }

  /** Ends the use of a revoked API key or session in this process. */
  readonly revoked = (id: string): void => {
    // Drops all entries, because a look-up in progress may still return the revoked key.
    this.#lookup.forgetAll();
    this.#live.end(id);
    // Ends the sessions that the key has created.
    void this.#checks.track(this.#check());
  };

  /** Ends the streams and sockets of revoked API keys and of their sessions, and records a use of the other keys. */
  async #check(): Promise<void> {
    const ids = this.#live.apiKeyIds;
    if (ids.length === 0 || this.#checking) return;
    this.#checking = true;
    try {
      const live = await liveApiKeys(this.#options.database.pool, { ids, adminIssuers: this.#adminIssuers });
      for (const id of ids) {
        if (live.has(id)) this.#use.note(id);
        else this.#live.end(id);
      }
    } catch (error) {
      this.#options.log[failureLevel(error)]({ err: error }, 'check for revoked API keys failed');
    } finally {
      this.#checking = false;
    }
  }
}

/**
 * Milliseconds until the credential expires, infinite without expiry. Sessions expire by Postgres's time, which created them;
 * JWTs by that of this machine, because another system signs them.
 */
function lifeLeftMs({ expiresAt, session }: Viewer, clock: Clock): number {
  if (expiresAt === undefined) return Number.POSITIVE_INFINITY;
  return expiresAt.getTime() - (session === undefined ? Date.now() : clock.now());
}

export type CredentialWatch = {
  /** Aborts when the credential has expired or has been revoked. */
  readonly signal: AbortSignal;
  /** Stops watching. */
  readonly release: () => void;
};

/** The credentials of open streams and sockets, which end with them. */
class LiveCredentials {
  readonly #watched = new Map<string, Set<AbortController>>();

  /** The ids of the API keys in use. */
  get apiKeyIds(): string[] {
    return [...this.#watched.keys()];
  }

  watch({ credentialId }: Viewer, leftMs: number): CredentialWatch {
    const controller = new AbortController();
    const { signal } = controller;
    // Only API keys have UUIDs. JWTs and the admin key cannot be revoked.
    if (isUuid(credentialId)) this.#add(credentialId, controller);
    const expire = () => {
      controller.abort();
    };
    const timer = Number.isFinite(leftMs) ? setTimeout(expire, Math.max(0, leftMs)) : undefined;
    return {
      signal,
      release: () => {
        clearTimeout(timer);
        this.#remove(credentialId, controller);
      },
    };
  }

  end(credentialId: string): void {
    const controllers = this.#watched.get(credentialId);
    this.#watched.delete(credentialId);
    for (const controller of controllers ?? []) controller.abort();
  }

  #add(id: string, controller: AbortController): void {
    const controllers = this.#watched.get(id) ?? new Set();
    this.#watched.set(id, controllers.add(controller));
  }

  #remove(id: string, controller: AbortController): void {
    const controllers = this.#watched.get(id);
    controllers?.delete(controller);
    if (controllers?.size === 0) this.#watched.delete(id);
  }
}
