import type { Logger } from 'pino';
import type { Config } from '../config/config.ts';
import { ChangeListener } from '../postgres/listener.ts';
import type { Database } from '../postgres/client.ts';
import { liveApiKeys } from './live-api-keys.ts';
import { InFlight } from '../lib/in-flight.ts';
import type { Viewer } from './viewer.ts';
import { ApiKeyLookup } from './api-key-lookup.ts';
import { type ApiKeyUse, createApiKeyUse } from './api-key-use.ts';
import { type Authenticate, createAuthenticate } from './auth.ts';
import { createVerifyJwt } from './jwt.ts';
import { LiveCredentials, type Watch } from './live-credentials.ts';

export type CredentialsOptions = {
  readonly adminApiKey: string;
  readonly jwt: Config['jwt'];
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
