import pg from 'pg';
import { uuid7 } from '../src/lib/uuid7.ts';
import { createSecretBox, generateSigningSecret, secretContext } from '../src/subscriptions/secrets.ts';
import type { Database } from './stack.ts';

export type ManySubscriptions = {
  /** The number of event types. Each has `fanOut` subscriptions. */
  readonly types: number;
  readonly fanOut: number;
  /** Receiver endpoints, assigned round-robin to the subscriptions of a tenant. Each tenant starts at another endpoint. */
  readonly urls: readonly string[];
};

/** Subscriptions for each tenant, as a busy customer has them. */
const PER_TENANT = 100;
const CHUNK = 5_000;

/** The NATS subject of each event type. */
export function subjectsOf({ types, fanOut }: Pick<ManySubscriptions, 'types' | 'fanOut'>): string[] {
  const perTenant = Math.max(1, PER_TENANT / fanOut);
  return Array.from({ length: types }, (_, type) => `events.t${Math.floor(type / perTenant)}.bench.type-${type}`);
}

/** Inserts subscriptions with SQL, because 100,000 mutations would take minutes. */
export async function insertSubscriptions(database: Database, options: ManySubscriptions): Promise<void> {
  const secretBox = createSecretBox(database.secretsKey);
  const pool = new pg.Pool({ connectionString: database.databaseUrl, max: 1 });
  const subscriptions = subjectsOf(options).flatMap((subject, type) =>
    Array.from({ length: options.fanOut }, (_, copy) => {
      const [, tenant = '', ...words] = subject.split('.');
      const number = type * options.fanOut + copy;
      // Events go to the tenants round-robin. If all tenants started at one endpoint, they would all deliver to it at once.
      const endpoint = (number + Math.floor(number / PER_TENANT)) % options.urls.length;
      const url = `${options.urls[endpoint] ?? ''}/${number}`;
      return { id: uuid7(Date.now()), secretId: uuid7(Date.now()), tenant, url, eventType: words.join('.') };
    }),
  );
  try {
    for (let from = 0; from < subscriptions.length; from += CHUNK) {
      const chunk = subscriptions.slice(from, from + CHUNK);
      const sealed = chunk.map(({ secretId, tenant }) =>
        secretBox.seal(generateSigningSecret(), secretContext(secretId, tenant)),
      );
      await pool.query(
        `WITH subscription AS (
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[])
             AS s (id, tenant, url, event_type, secret_id, sealed)
         ), inserted AS (
           INSERT INTO webhook_subscriptions (id, tenant, url, event_types, max_in_flight)
           SELECT id, tenant, url, ARRAY[event_type], 100 FROM subscription RETURNING id
         )
         INSERT INTO signing_secrets (id, subscription_id, encrypted_secret)
         SELECT secret_id, id, sealed FROM subscription JOIN inserted USING (id)`,
        [
          chunk.map(({ id }) => id),
          chunk.map(({ tenant }) => tenant),
          chunk.map(({ url }) => url),
          chunk.map(({ eventType }) => eventType),
          chunk.map(({ secretId }) => secretId),
          sealed,
        ],
      );
    }
    await pool.query('VACUUM ANALYZE');
  } finally {
    await pool.end();
  }
}
