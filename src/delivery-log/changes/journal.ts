import { setTimeout as delay } from 'node:timers/promises';
import type { ChangedTable } from '../../postgres/changes.ts';
import { type Database, type Queryable, transaction } from '../../postgres/client.ts';
import { isTimeout } from '../../postgres/errors.ts';
import { type Change, Snapshot } from './change-position.ts';

/**
 * Seconds for which changes are recorded after the last renewal. Longer than the validity of a cursor (1 hour) plus
 * RENEW_MS.
 */
const RECORD_SECONDS = 80 * 60;
/** Milliseconds between two renewals by a process with readers. */
export const RENEW_MS = 600_000;
/**
 * Maximum attempts to start recording, and the milliseconds that each waits for the lock: statements that record
 * changes wait behind it.
 */
const MAX_TRIES = 50;
const LOCK_MS = 100;

/** The changes of a table after a position, up to a snapshot. */
export type ChangePage = {
  /** The snapshot at which the page was read. */
  readonly snapshot: Snapshot;
  /** All changes of transactions that are not in this snapshot are recorded; undefined: changes are not being recorded. */
  readonly completeFrom: Snapshot | undefined;
  readonly changes: readonly Change[];
  /**
   * Whether there are more changes than the page contains. If so, the page contains all changes up to its last
   * transaction.
   */
  readonly hasMore: boolean;
};

type PageQuery = {
  readonly table: ChangedTable;
  /** Return the changes after this snapshot. Absent: return only the present snapshot. */
  readonly beyond?: Snapshot | undefined;
  /**
   * Maximum entries of the journal, each with the rows of one statement. The entries of one transaction are not
   * divided.
   */
  readonly limit?: number;
};

type Row = {
  readonly snapshot: string;
  readonly completeFrom: string | null;
  readonly xid: string | null;
  readonly ids: readonly string[] | null;
  readonly isRecent: boolean | null;
};

/** Reads changes in the order of their transactions. The statement sees exactly the changes of the returned snapshot. */
export async function readChanges(db: Queryable, { table, beyond, limit = 1 }: PageQuery): Promise<ChangePage> {
  const { rows } = await db.query<Row>(READ[table], [
    String(beyond?.xmax ?? NO_XID),
    [...(beyond?.inProgress ?? [])].map(String),
    limit,
  ]);
  const [first] = rows;
  const snapshot = Snapshot.parse(first?.snapshot ?? '');
  if (snapshot === undefined) throw new Error('Postgres returned no snapshot');
  const entries = rows.flatMap(({ xid, ids }) => (xid === null || ids === null ? [] : [{ xid: BigInt(xid), ids }]));
  return {
    snapshot,
    completeFrom: Snapshot.parse(first?.completeFrom ?? ''),
    changes: entries.flatMap(({ xid, ids }) => ids.map((id) => ({ xid, id }))),
    hasMore: rows.filter(({ isRecent }) => isRecent === true).length >= limit,
  };
}

/** Whether a page contains every change after the position: all were recorded, and Postgres has not lost transactions. */
export function isComplete({ snapshot, completeFrom }: ChangePage, position: Snapshot): boolean {
  return completeFrom !== undefined && position.includes(completeFrom) && snapshot.includes(position);
}

const NO_XID = 2n ** 63n - 1n;

// Transactions that were in progress are looked up one by one: they are few, and all before xmax. A row of a
// transaction that this Postgres has not started comes from a restored dump.
const READ: Readonly<Record<ChangedTable, string>> = {
  events: readStatement('events'),
  rejected_events: readStatement('rejected_events'),
  deliveries: readStatement('deliveries'),
  subscriptions: readStatement('subscriptions'),
  jobs: readStatement('jobs'),
};

function readStatement(table: ChangedTable): string {
  return `
  SELECT pg_current_snapshot()::text AS snapshot,
    (SELECT complete_from::text FROM change_readers WHERE until > now()) AS "completeFrom",
    entry.xid::text AS xid, entry.ids, entry."isRecent"
  FROM (SELECT) AS always LEFT JOIN (
    SELECT xid, ${table} AS ids, false AS "isRecent" FROM changes
    WHERE xid = ANY ($2::xid8[]) AND ${table} IS NOT NULL
    UNION ALL (
      SELECT xid, ${table}, true FROM changes
      WHERE xid >= $1::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot()) AND ${table} IS NOT NULL
      ORDER BY xid FETCH FIRST $3 ROWS WITH TIES
    )
  ) AS entry ON true
  ORDER BY entry.xid`;
}

/**
 * Keeps changes recorded for the next 80 minutes. If they were not being recorded, waits for the statements in
 * progress, whose changes are not recorded: every change after the first position that is read after this call is
 * recorded.
 */
export async function keepRecording({ readPool }: Pick<Database, 'readPool'>): Promise<void> {
  if (await renew(readPool)) return;
  for (let tries = 1; ; tries += 1) {
    try {
      await transaction(readPool, begin);
      return;
    } catch (error) {
      if (!isTimeout(error) || tries === MAX_TRIES) throw error;
      await delay(LOCK_MS);
    }
  }
}

/** Returns false if changes are not being recorded. A snapshot of the future comes from a restored dump. */
async function renew(db: Queryable): Promise<boolean> {
  const { rows } = await db.query(
    `UPDATE change_readers SET until = now() + $1 * interval '1 s'
     WHERE until > now() AND pg_snapshot_xmax(complete_from) <= pg_snapshot_xmax(pg_current_snapshot())
     RETURNING 1 AS renewed`,
    [RECORD_SECONDS],
  );
  return rows.length > 0;
}

async function begin(db: Queryable): Promise<void> {
  await db.query(`SET LOCAL lock_timeout = ${LOCK_MS}`);
  // Every transaction that records changes, or has found that it need not, holds a lock on the table until it ends.
  await db.query('LOCK TABLE change_readers IN ACCESS EXCLUSIVE MODE');
  if (await renew(db)) return;
  await db.query(
    `INSERT INTO change_readers (until, complete_from)
     VALUES (now() + $1 * interval '1 s', pg_current_snapshot())
     ON CONFLICT ((true)) DO UPDATE SET until = excluded.until, complete_from = excluded.complete_from`,
    [RECORD_SECONDS],
  );
}
