import { LRUCache } from 'lru-cache';
import { Batcher } from '../postgres/batcher.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import { PermanentError } from '../postgres/errors.ts';
import { headersContext, type SecretBox, secretContext } from './secrets.ts';
import { SENT_COLUMNS, type SentSettings } from './settings.ts';

type SenderSecret = { readonly id: string; readonly secret: string; readonly expiresAt: Date | undefined };

/** A webhook subscription with its secrets in plain text. Never log it. */
export type SenderSubscription = Omit<SubscriptionRow, 'encryptedHeaders' | 'secrets'> & {
  readonly headers: Readonly<Record<string, string>>;
  /** The current secret first. Older ones are not used once they have expired. */
  readonly secrets: readonly SenderSecret[];
};

/** The subscription's secrets cannot be decrypted. No attempt is possible until an operator or a user has fixed this. */
export class UnusableSubscriptionError extends PermanentError {}

/** Maximum bytes in the cache. Sizes of subscriptions differ: headers have up to 4 KiB, the URL up to 2 KiB. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Size of a cached subscription without its headers, including the overhead of V8 and the cache. */
const ENTRY_BYTES = 2 * 1024;
/** Changes are announced. This bounds how long a value stays stale if an announcement is lost. */
const MAX_AGE_MS = 60_000;
const MAX_READ_PER_STATEMENT = 500;

/** Caches subscriptions until they change. */
export class SubscriptionCache {
  readonly #rows: Batcher<string, SubscriptionRow | undefined>;
  readonly #secretBox: SecretBox;
  readonly #cached: LRUCache<string, SenderSubscription>;
  /** The latest load of each subscription, so that `forget` also drops a load in progress. */
  readonly #loads = new Map<string, Promise<SenderSubscription | undefined>>();

  constructor(database: Database, secretBox: SecretBox, maxBytes = MAX_BYTES) {
    this.#cached = new LRUCache({ maxSize: maxBytes, sizeCalculation: bytesOf, ttl: MAX_AGE_MS });
    this.#rows = new Batcher({
      maxItems: MAX_READ_PER_STATEMENT,
      write: async (ids) => {
        const rows = await loadSubscriptions(database.pool, ids);
        return ids.map((id) => rows.get(id));
      },
    });
    this.#secretBox = secretBox;
  }

  /** Returns the subscription at `minVersion` or a later version. */
  async get(id: string, minVersion: number): Promise<SenderSubscription | undefined> {
    const known = this.#cached.get(id) ?? this.#loads.get(id);
    if (known === undefined) return this.#load(id);
    const subscription = await known;
    return subscription !== undefined && subscription.version >= minVersion ? subscription : this.#load(id);
  }

  forget(id: string): void {
    this.#loads.delete(id);
    this.#cached.delete(id);
  }

  forgetAll(): void {
    this.#loads.clear();
    this.#cached.clear();
  }

  #load(id: string): Promise<SenderSubscription | undefined> {
    const load = this.#read(id);
    this.#loads.set(id, load);
    const end = (subscription?: SenderSubscription) => {
      if (this.#loads.get(id) !== load) return;
      this.#loads.delete(id);
      if (subscription !== undefined) this.#cached.set(id, subscription);
    };
    load.then(end, () => {
      end();
    });
    return load;
  }

  async #read(id: string): Promise<SenderSubscription | undefined> {
    const row = await this.#rows.add(id);
    if (row === undefined) return undefined;
    try {
      return this.#open(row);
    } catch (error) {
      throw new UnusableSubscriptionError(`the secrets of webhook subscription ${id} cannot be read`, { cause: error });
    }
  }

  #open(row: SubscriptionRow): SenderSubscription {
    const { encryptedHeaders, secrets, ...settings } = row;
    return {
      ...settings,
      headers: encryptedHeaders === null ? {} : this.#openHeaders(encryptedHeaders, row),
      secrets: secrets.map((secret) => ({
        id: secret.id,
        secret: this.#secretBox.open(secret.encryptedSecret, secretContext(secret.id, row.tenant)),
        expiresAt: secret.expiresAt === null ? undefined : new Date(secret.expiresAt),
      })),
    };
  }

  #openHeaders(sealed: string, { id, tenant }: SubscriptionRow): Readonly<Record<string, string>> {
    // `as`: sealHeaders in service.ts encrypted this object.
    return JSON.parse(this.#secretBox.open(sealed, headersContext(id, tenant))) as Record<string, string>;
  }
}

function bytesOf({ url, headers }: SenderSubscription): number {
  const headerBytes = Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  return ENTRY_BYTES + url.length + headerBytes;
}

type SubscriptionRow = SentSettings & {
  readonly id: string;
  readonly tenant: string;
  /** False if the subscription is inactive or deleted. */
  readonly isActive: boolean;
  /** The circuit is open: only probes are sent. */
  readonly isOpen: boolean;
  /** Time until which only probes, retries by users and tests are sent. */
  readonly pausedUntil: Date | null;
  readonly encryptedHeaders: string | null;
  readonly headerNames: readonly string[];
  readonly version: number;
  /** The current secret first, then older ones that have not expired, the newest first. */
  readonly secrets: readonly {
    readonly id: string;
    readonly encryptedSecret: string;
    readonly expiresAt: string | null;
  }[];
};

/** Returns the subscriptions by id, without those that do not exist. */
async function loadSubscriptions(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, SubscriptionRow>> {
  const { rows } = await db.query<Omit<SubscriptionRow, 'version'> & { version: string }>(
    `SELECT s.id, s.tenant, s.is_active AND s.deleted_at IS NULL AS "isActive", ${SENT_COLUMNS},
       st.opened_at IS NOT NULL AS "isOpen", st.paused_until AS "pausedUntil",
       s.encrypted_headers AS "encryptedHeaders", s.header_names AS "headerNames", s.version,
       coalesce((
         SELECT json_agg(json_build_object('id', k.id, 'encryptedSecret', k.encrypted_secret, 'expiresAt', k.expires_at)
                         ORDER BY k.expires_at DESC NULLS FIRST, k.id DESC)
         FROM signing_secrets k WHERE k.subscription_id = s.id AND (k.expires_at IS NULL OR k.expires_at > now())
       ), '[]') AS secrets
     FROM webhook_subscriptions s JOIN subscription_states st ON st.subscription_id = s.id WHERE s.id = ANY ($1::uuid[])`,
    [ids],
  );
  return new Map(rows.map((row) => [row.id, { ...row, version: Number(row.version) }]));
}
