import { createHash, timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { InFlight } from '../lib/loop.ts';
import { isUuid } from '../lib/uuid7.ts';
import type { Database } from '../postgres/client.ts';
import { ChangeListener } from '../postgres/listener.ts';
import { ApiKeyLookup, type ApiKeyUse, createApiKeyUse, isApiKey, liveApiKeys } from './api-keys.ts';
import { createVerifyJwt, type JwtConfig } from './jwt.ts';
import type { Viewer } from './viewer.ts';

/**
 * Who an `Authorization` header's value belongs to; undefined for nobody, whatever the reason. Rejects where that cannot
 * be found out right now.
 */
export type Authenticate = (authorization: string | undefined) => Promise<Viewer | undefined>;

type Verifiers = {
  readonly adminApiKey: string;
  readonly findApiKey: (key: string) => Promise<Viewer | undefined>;
  /** Undefined: JWTs are refused. */
  readonly verifyJwt: ((token: string) => Promise<Viewer | undefined>) | undefined;
};

const ADMIN: Viewer = { scope: 'ADMIN', credentialId: 'admin' };

export function createAuthenticate({ adminApiKey, findApiKey, verifyJwt }: Verifiers): Authenticate {
  const isAdmin = isOneOf([adminApiKey]);
  return async (authorization) => {
    if (isAdmin(authorization)) return ADMIN;
    const credentials = credentialsOf(authorization);
    return isApiKey(credentials) ? findApiKey(credentials) : verifyJwt?.(credentials);
  };
}

/** Whether an `Authorization` header's value is one of these secrets. */
export function isOneOf(secrets: readonly string[]): (authorization: string | undefined) => boolean {
  const expected = secrets.map(sha256);
  return (authorization) => {
    const given = sha256(credentialsOf(authorization));
    // Digests: of equal length, and the time it takes tells nothing about the secret.
    return expected.some((digest) => timingSafeEqual(digest, given));
  };
}

function credentialsOf(authorization: string | undefined): string {
  return authorization?.replace(/^bearer +/i, '').trim() ?? '';
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

type CredentialsOptions = {
  readonly adminApiKey: string;
  readonly jwt: JwtConfig | undefined;
  readonly database: Pick<Database, 'pool'>;
  readonly databaseUrl: string;
  readonly log: Logger;
};

const CHECK_MS = 3_000;

/**
 * Whom credentials belong to, and when that ends. Revocations in any process are announced by Postgres; where that is
 * not heard, what is remembered ends after 5 s, and what is open is checked every 3 s.
 */
export class Credentials {
  readonly authenticate: Authenticate;
  readonly #options: CredentialsOptions;
  readonly #lookup: ApiKeyLookup;
  readonly #live = new LiveCredentials();
  readonly #listener: ChangeListener;
  readonly #use: ApiKeyUse;
  readonly #checks = new InFlight();
  #timer: NodeJS.Timeout | undefined;
  #checking = false;

  constructor(options: CredentialsOptions) {
    const { adminApiKey, jwt, database, databaseUrl, log } = options;
    this.#options = options;
    this.#lookup = new ApiKeyLookup(database.pool);
    this.#use = createApiKeyUse(database.pool, log);
    this.authenticate = createAuthenticate({
      adminApiKey,
      findApiKey: async (key) => {
        const viewer = await this.#lookup.find(key);
        if (viewer !== undefined) this.#use.note(viewer.credentialId);
        return viewer;
      },
      verifyJwt: jwt && createVerifyJwt(jwt, log),
    });
    this.#listener = new ChangeListener({
      ...{ url: databaseUrl, log, onNotice: { api_key_revoked: this.revoked } },
      onGap: () => {
        this.#lookup.forgetAll();
        void this.#checks.track(this.#check());
      },
    });
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#listener.start();
    this.#timer = setInterval(() => void this.#checks.track(this.#check()), CHECK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#listener.stop();
    await this.#checks.settled();
    await this.#use.settled();
  }

  /** For what stays open: it has to end when the credential does. */
  watch(viewer: Viewer): Watch {
    return this.#live.watch(viewer);
  }

  /** To be called with the id of an API key that has been revoked. */
  readonly revoked = (id: string): void => {
    // Not only this one: it may be looked up at this moment, and come back as it was.
    this.#lookup.forgetAll();
    this.#live.end(id);
  };

  /** Ends what is open with API keys that are revoked; what is open with the others uses them. */
  async #check(): Promise<void> {
    const ids = this.#live.apiKeyIds;
    if (ids.length === 0 || this.#checking) return;
    this.#checking = true;
    try {
      const live = await liveApiKeys(this.#options.database.pool, ids);
      for (const id of ids) {
        if (live.has(id)) this.#use.note(id);
        else this.#live.end(id);
      }
    } catch (error) {
      this.#options.log.debug({ err: error }, 'whether API keys are revoked could not be read');
    } finally {
      this.#checking = false;
    }
  }
}

export type Watch = {
  /** Aborts when the credential has expired or has been revoked. */
  readonly signal: AbortSignal;
  /** To be called when nobody is interested any more. */
  readonly release: () => void;
};

/** The credentials of streams and sockets that are open, so that these can end with them. */
class LiveCredentials {
  readonly #watched = new Map<string, Set<AbortController>>();

  /** The ids of the API keys among them. */
  get apiKeyIds(): string[] {
    return [...this.#watched.keys()];
  }

  watch({ credentialId, expiresAt }: Viewer): Watch {
    const controller = new AbortController();
    const { signal } = controller;
    // What JWTs and the admin key have for an id is no UUID; nobody can revoke them.
    if (isUuid(credentialId)) this.#add(credentialId, controller);
    const timer =
      expiresAt &&
      setTimeout(
        () => {
          controller.abort();
        },
        Math.max(0, expiresAt.getTime() - Date.now()),
      );
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
