import type { Queryable } from '../postgres/transaction.ts';

/** A running replay that may make more deliveries now. */
export type ClaimedReplay = {
  readonly id: string;
  readonly tenant: string;
  /** A DeliveryFilter as it was stored. */
  readonly filter: unknown;
  readonly ratePerSecond: number;
  /** The last delivery that was dealt with, by id. */
  readonly afterId: string;
  readonly createdAt: Date;
  /** How often it has failed since it last went on. */
  readonly failureCount: number;
  /** Now, by Postgres's clock: the time that the new deliveries get. */
  readonly batchAt: Date;
};

/** Holds the running replay that has waited longest for its turn until the transaction ends; nobody else gets it. */
export async function claimReplay(db: Queryable): Promise<ClaimedReplay | undefined> {
  const { rows } = await db.query<ClaimedReplay>(
    `SELECT id, tenant, filter, rate_per_second AS "ratePerSecond", after_id AS "afterId", created_at AS "createdAt",
       failure_count AS "failureCount", greatest(now(), created_at) AS "batchAt"
     FROM replays WHERE status = 'RUNNING' AND next_batch_at <= now()
     ORDER BY next_batch_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
  );
  return rows[0];
}
