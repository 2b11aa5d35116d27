import { deleteEndedSessions } from '../auth/sessions.ts';
import { CLOCK_DRIFT_MS, uuid7Floor, uuid7Time } from '../lib/uuid7.ts';
import { pause } from '../lib/waiting.ts';
import type { Queryable } from '../postgres/client.ts';
import { expiryOf, gapsBefore, type Retention, type TimeRange } from './partition-plan.ts';
import { listPartitions } from './partitions.ts';

const BATCH = 1_000;

/** The number of deleted rows, and whether no expired rows are left. */
type RowDeletion = { count: number; isDone: boolean };

/** Deletes up to `limit` rows that were created before the time of the id `beforeId`, and returns their number. */
type Deletion = (db: Queryable, batch: { readonly beforeId: string; readonly limit: number }) => Promise<number>;

/** Deletes rows of the audit log that are older than `days` and returns whether none is left. */
export async function deleteOldAuditEntries(
  db: Queryable,
  { nowMs, days, deadline }: { readonly nowMs: number; readonly days: number; readonly deadline: Deadline },
): Promise<RowDeletion> {
  const beforeId = uuid7Floor(expiryOf({ nowMs, retentionDays: days }));
  return deleteInBatches(deadline, () => deleteAuditEntries(db, { beforeId, limit: BATCH }));
}

/**
 * Deletes expired rows that are in no droppable partition: rows of the default partitions, rejected events, replays,
 * attempt counts, ended sessions, recorded changes, and the publishers' ids and matching settings of events that no longer
 * exist.
 */
export async function deleteExpiredRows(
  db: Queryable,
  { deadline, ...retention }: Retention & { readonly deadline: Deadline },
): Promise<RowDeletion> {
  const result: RowDeletion = { count: 0, isDone: true };
  const beforeId = uuid7Floor(expiryOf(retention));
  for (const deletion of [
    deleteMisplacedRows,
    deleteOldRejections,
    deleteOldSettings,
    deleteOldReplays,
    deleteOldCounts,
    deleteEndedSessions,
    deleteOldChanges,
  ]) {
    const { count, isDone } = await deleteInBatches(deadline, () => deletion(db, { beforeId, limit: BATCH }));
    result.count += count;
    result.isDone &&= isDone;
  }
  const events = (await listPartitions(db)).filter(({ table }) => table === 'events');
  for (const gap of gapsBefore(expiryOf(retention), events)) {
    const { count, isDone } = await forgetIds(db, { gap, deadline });
    result.count += count;
    result.isDone &&= isDone;
  }
  return result;
}

async function deleteInBatches(deadline: Deadline, deleteBatch: () => Promise<number>): Promise<RowDeletion> {
  let total = 0;
  const isDone = await inBatches(deadline, async () => {
    const count = await deleteBatch();
    total += count;
    return count < BATCH ? 'done' : 'more';
  });
  return { count: total, isDone };
}

async function forgetIds(
  db: Queryable,
  { gap, deadline }: { readonly gap: TimeRange; readonly deadline: Deadline },
): Promise<RowDeletion> {
  let total = 0;
  let fromId = uuid7Floor(gap.fromMs);
  const isDone = await inBatches(deadline, async () => {
    const { count, nextFromId } = await forgetEventIds(db, { fromId, toId: uuid7Floor(gap.toMs), limit: BATCH });
    total += count;
    fromId = nextFromId ?? fromId;
    return nextFromId === undefined ? 'done' : 'more';
  });
  return { count: total, isDone };
}

/**
 * Deletes up to `limit` expired rows of each default partition (pending deliveries and events with a delivery are kept)
 * and returns the largest of the three counts.
 */
const deleteMisplacedRows: Deletion = async (db, { beforeId, limit }) => {
  let most = 0;
  for (const statement of DELETE_MISPLACED) {
    const { rows } = await db.query(statement, [beforeId, limit]);
    most = Math.max(most, rows.length);
  }
  return most;
};

const DELETE_MISPLACED = [
  misplaced('attempts_default', 'true'),
  misplaced('deliveries_default', `status <> 'PENDING'`),
  misplaced('events_default', 'NOT EXISTS (SELECT FROM deliveries d WHERE d.event_id = r.id)'),
];

function misplaced(table: string, condition: string): string {
  return `DELETE FROM ${table} WHERE id IN (
    SELECT id FROM ${table} r WHERE id < $1 AND ${condition} LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING id`;
}

/** Deletes up to `limit` expired rows of attempt_counts and returns their number. */
export const deleteOldCounts: Deletion = async (db, { beforeId, limit }) => {
  const { rows } = await db.query(
    `DELETE FROM attempt_counts WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM attempt_counts WHERE hour < $1::timestamptz - interval '1 hour' ORDER BY hour LIMIT $2
     )) RETURNING 1`,
    [new Date(uuid7Time(beforeId)), limit],
  );
  return rows.length;
};

/**
 * Deletes up to `limit` changes that were recorded over an hour ago and returns their number. Positions without their
 * transactions are incomplete from then on (delivery-log/changes/journal.ts).
 */
export async function deleteOldChanges(db: Queryable, { limit }: { readonly limit: number }): Promise<number> {
  const { rows } = await db.query(DELETE_OLD_CHANGES, [limit]);
  return rows.length;
}

// A row with a transaction id that this Postgres has not assigned yet comes from a restored dump.
const DELETE_OLD_CHANGES = `
  WITH oldest AS (
    SELECT ctid, xid, logged_at FROM changes WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid LIMIT $1
  ), expired AS (
    SELECT ctid, xid FROM oldest WHERE logged_at < now() - interval '1 hour'
  ), last AS (
    SELECT xid, xid::text::bigint + 1 AS next FROM expired ORDER BY xid DESC LIMIT 1
  ), marked AS (
    UPDATE change_readers SET complete_from = format('%s:%s:', next, next)::pg_snapshot
    FROM last WHERE pg_snapshot_xmax(complete_from) <= last.xid
  )
  DELETE FROM changes WHERE ctid = ANY (ARRAY(SELECT ctid FROM expired)) OR xid >= pg_snapshot_xmax(pg_current_snapshot())
  RETURNING 1`;

const deleteAuditEntries = oldestRows('audit_log');
const deleteOldRejections = oldestRows('rejected_events');

/** Deletes the oldest rows first. */
function oldestRows(table: string): Deletion {
  const sql = `DELETE FROM ${table} WHERE id IN (
    SELECT id FROM ${table} WHERE id < $1 ORDER BY id LIMIT $2
  ) RETURNING id`;
  return async (db, { beforeId, limit }) => (await db.query(sql, [beforeId, limit])).rows.length;
}

/** Deletes replays and other jobs that ended before the time of the id; they began before it, which the index finds. */
const deleteOldReplays: Deletion = async (db, { beforeId, limit }) => {
  const { rows } = await db.query(
    `DELETE FROM replays WHERE id IN (
       SELECT id FROM replays WHERE id < $1 AND completed_at < $3 ORDER BY id LIMIT $2
     ) RETURNING 1`,
    [beforeId, limit, new Date(uuid7Time(beforeId))],
  );
  return rows.length;
};

/**
 * Deletes up to `limit` matching settings that were superseded before the retention and returns their number. An event
 * that is kept for longer, because it has a pending delivery, keeps the settings of its time and later. The rows of
 * matching_settings are written by the trigger webhook_subscription_matching_changed
 * (prisma/migrations/0001_initial/migration.sql).
 */
const deleteOldSettings: Deletion = async (db, { beforeId, limit }) => {
  const { rows: events } = await db.query<{ id: string }>('SELECT id FROM events ORDER BY id LIMIT 1');
  const oldest = events[0] === undefined ? Number.POSITIVE_INFINITY : uuid7Time(events[0].id) - CLOCK_DRIFT_MS;
  const before = new Date(Math.min(oldest, uuid7Time(beforeId)));
  const { rows } = await db.query(
    `DELETE FROM matching_settings WHERE (subscription_id, from_version) IN (
       SELECT subscription_id, from_version FROM matching_settings
       WHERE superseded_at < $1 ORDER BY superseded_at LIMIT $2
     ) RETURNING 1`,
    [before, limit],
  );
  return rows.length;
};

type IdPage = {
  /** A range of events.id: `fromId` is included, `toId` is not. */
  readonly fromId: string;
  readonly toId: string;
  readonly limit: number;
};

/**
 * Deletes the publishers' ids of up to `limit` events of a range whose event no longer exists. Returns the number of
 * deleted ids and the start of the next page; undefined after the last page.
 */
async function forgetEventIds(
  db: Queryable,
  page: IdPage,
): Promise<{ readonly count: number; readonly nextFromId: string | undefined }> {
  const { rows } = await db.query<{ count: number; last: string | null; seen: number }>(FORGET_EVENT_IDS, [
    page.fromId,
    page.toId,
    page.limit,
  ]);
  const { count = 0, last = null, seen = 0 } = rows[0] ?? {};
  return { count, nextFromId: seen < page.limit ? undefined : (last ?? undefined) };
}

// The bounds on e.id are repeated so that Postgres prunes partitions.
const FORGET_EVENT_IDS = `
  WITH page AS (
    SELECT event_row_id FROM event_ids WHERE event_row_id >= $1 AND event_row_id < $2
    ORDER BY event_row_id LIMIT $3
  ), forgotten AS (
    DELETE FROM event_ids i USING page WHERE i.event_row_id = page.event_row_id
      AND NOT EXISTS (SELECT FROM events e WHERE e.id = page.event_row_id AND e.id >= $1 AND e.id < $2)
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM forgotten)::integer AS count, (SELECT max(event_row_id::text) FROM page) AS last,
    (SELECT count(*) FROM page)::integer AS seen`;

/** The time limit of a round. Deletions stop at `deadlineMs` (performance.now()) and continue in the next round. */
export type Deadline = { readonly signal: AbortSignal; readonly deadlineMs: number };

/** Milliseconds between two batches, so that deliveries have priority. */
const PAUSE_MS = 20;

/** Repeats `step` until it returns 'done' or the deadline has passed. Returns whether it is done. */
export async function inBatches(deadline: Deadline, step: () => Promise<'more' | 'done'>): Promise<boolean> {
  while (hasTime(deadline)) {
    if ((await step()) === 'done') return true;
    await pause(PAUSE_MS, deadline.signal);
  }
  return false;
}

export function hasTime({ signal, deadlineMs }: Deadline): boolean {
  return !signal.aborted && performance.now() < deadlineMs;
}
