import type { Logger } from 'pino';
import { Loop } from '../lib/loop.ts';
import { type Database, type Queryable, transaction } from '../postgres/client.ts';
import { failureLevel } from '../postgres/errors.ts';
import { responseClassSql } from './attempt-stats.ts';

/**
 * Milliseconds between two counts: short enough that queries count few attempts themselves, long enough that many
 * attempts share a row.
 */
const INTERVAL_MS = 10_000;
/** Maximum attempts counted in one transaction. */
const BATCH = 10_000;
/** Arbitrary advisory-lock key. Never change it. */
const COUNT_LOCK = 7_221_953;

type AttemptCounterOptions = { readonly database: Pick<Database, 'pool'>; readonly log: Logger };

/** Counts logged attempts for the statistics every ten seconds, in one process at a time. */
export class AttemptCounter extends Loop {
  readonly #options: AttemptCounterOptions;

  constructor(options: AttemptCounterOptions) {
    // The dispatcher and the senders log that Postgres is unavailable.
    super({ log: options.log, work: 'counting attempts', retryMs: INTERVAL_MS, levelOf: failureLevel });
    this.#options = options;
  }

  protected async round(): Promise<number> {
    const counted = await transaction(this.#options.database.pool, (client) => countAttempts(client, BATCH));
    return counted === BATCH ? 0 : INTERVAL_MS;
  }
}

/**
 * Moves up to `limit` uncounted attempts into the counts and returns their number; undefined if another process is
 * counting. Call it in a transaction, so that each attempt is always either counted or uncounted.
 */
export async function countAttempts(client: Queryable, limit: number): Promise<number | undefined> {
  // Prevents a deadlock: two concurrent counts would lock the same rows in different orders.
  const { rows } = await client.query<{ isOurs: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS "isOurs"', [
    COUNT_LOCK,
  ]);
  if (rows[0]?.isOurs !== true) return undefined;
  const counted = await client.query<{ count: number }>(COUNT_ATTEMPTS, [limit]);
  return counted.rows[0]?.count ?? 0;
}

const COUNT_KEY = 'hour, event_type, status_code, failure_reason, response_class';

/** SQL that counts the attempts in `source` for their subscription, their tenant and in total, as rows of attempt_counts. */
export function countsOf(source: string): string {
  return `
    SELECT
      CASE WHEN grouping(subscription_id) = 0 THEN subscription_id::text
        WHEN grouping(tenant) = 0 THEN 'tenant:' || tenant ELSE 'all' END AS scope,
      ${COUNT_KEY}, count(*) AS count
    FROM (
      SELECT tenant, subscription_id, date_trunc('hour', started_at, 'UTC') AS hour, event_type,
        coalesce(status_code, 0) AS status_code, coalesce(failure_reason::text, '') AS failure_reason,
        ${responseClassSql('response_time_ms')} AS response_class
      FROM ${source}
    ) AS attempt
    GROUP BY GROUPING SETS ((subscription_id, ${COUNT_KEY}), (tenant, ${COUNT_KEY}), (${COUNT_KEY}))`;
}

const COUNT_ATTEMPTS = `
  WITH moved AS (
    DELETE FROM uncounted_attempts WHERE ctid = ANY (ARRAY(SELECT ctid FROM uncounted_attempts LIMIT $1))
    RETURNING *
  ), counted AS (
    INSERT INTO attempt_counts (scope, ${COUNT_KEY}, count) ${countsOf('moved')}
    ON CONFLICT (scope, ${COUNT_KEY}) DO UPDATE SET count = attempt_counts.count + excluded.count
  )
  SELECT count(*)::integer AS count FROM moved`;
