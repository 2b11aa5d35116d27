import type { Logger } from 'pino';
import { Loop } from '../lib/loop.ts';
import { type Database, type Queryable, transaction } from '../postgres/client.ts';
import { isTransient } from '../postgres/errors.ts';
import { responseClassSql } from './stats.ts';

/** So often that few are left for queries to count, so rarely that many are alike. */
const INTERVAL_MS = 10_000;
const BATCH = 10_000;

type AttemptCounterOptions = { readonly database: Pick<Database, 'pool'>; readonly log: Logger };

/** Counts what was logged, for the statistics, now and then every ten seconds; one process at a time does. */
export class AttemptCounter extends Loop {
  readonly #options: AttemptCounterOptions;

  constructor(options: AttemptCounterOptions) {
    super();
    this.#options = options;
  }

  protected async round(): Promise<number> {
    const { database, log } = this.#options;
    try {
      const counted = await transaction(database.pool, (client) => countAttempts(client, BATCH));
      return counted === BATCH ? 0 : INTERVAL_MS;
    } catch (error) {
      // That Postgres is away is logged by those who cannot do without it.
      log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'counting attempts failed; trying again');
      return INTERVAL_MS;
    }
  }
}

/** Any number: it only has to be the same in every process of every version. */
const COUNT_LOCK = 7_221_953;

/**
 * Moves up to `limit` attempts from those not counted yet into the counts, and returns how many there were; undefined
 * if another process is at it. In a transaction: what is counted and what is not are one at every moment.
 */
export async function countAttempts(client: Queryable, limit: number): Promise<number | undefined> {
  // Two at a time would lock the same counts in different orders.
  const { rows } = await client.query<{ isOurs: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS "isOurs"', [
    COUNT_LOCK,
  ]);
  if (rows[0]?.isOurs !== true) return undefined;
  const counted = await client.query<{ count: number }>(STATEMENT, [limit]);
  return counted.rows[0]?.count ?? 0;
}

const ALIKE = 'hour, event_type, status_code, failure_reason, response_class';

/**
 * SQL that counts the attempts in `source`, each for its subscription, its tenant, and all; the columns are those of
 * attempt_counts.
 */
export function countsOf(source: string): string {
  return `
    SELECT
      CASE WHEN grouping(subscription_id) = 0 THEN subscription_id::text
        WHEN grouping(tenant) = 0 THEN 'tenant:' || tenant ELSE 'all' END AS scope,
      ${ALIKE}, count(*) AS count
    FROM (
      SELECT tenant, subscription_id, date_trunc('hour', started_at, 'UTC') AS hour, event_type,
        coalesce(status_code, 0) AS status_code, coalesce(failure_reason::text, '') AS failure_reason,
        ${responseClassSql('response_time_ms')} AS response_class
      FROM ${source}
    ) AS attempt
    GROUP BY GROUPING SETS ((subscription_id, ${ALIKE}), (tenant, ${ALIKE}), (${ALIKE}))`;
}

const STATEMENT = `
  WITH taken AS (
    DELETE FROM uncounted_attempts WHERE ctid = ANY (ARRAY(SELECT ctid FROM uncounted_attempts LIMIT $1))
    RETURNING *
  ), counted AS (
    INSERT INTO attempt_counts (scope, ${ALIKE}, count) ${countsOf('taken')}
    ON CONFLICT (scope, ${ALIKE}) DO UPDATE SET count = attempt_counts.count + excluded.count
  )
  SELECT count(*)::integer AS count FROM taken`;
