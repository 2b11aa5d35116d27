import { idRange, leastChildId } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';

/** Deletes a batch of rows. `isDone`: no rows are left. */
type Deletion = (db: Queryable, tenant: string) => Promise<{ readonly count: number; readonly isDone: boolean }>;

/** Maximum rows per statement. Small, because deliveries of other tenants have priority. */
const BATCH = 500;

/** Ends access, and everything that could create rows: subscriptions are deleted, keys revoked, replays ended. */
export const closeTenant: readonly Deletion[] = [
  changing(
    `UPDATE webhook_subscriptions SET is_active = false, deleted_at = now(), event_types = '{}', filter = NULL
     WHERE id = ANY (ARRAY(
       SELECT id FROM webhook_subscriptions WHERE tenant = $1 AND deleted_at IS NULL LIMIT $2 FOR NO KEY UPDATE))`,
  ),
  changing(
    `UPDATE api_keys SET revoked_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM api_keys WHERE tenant = $1 AND revoked_at IS NULL LIMIT $2))`,
  ),
  changing(byId('replays')),
];

const OF_SUBSCRIPTIONS = 'JOIN webhook_subscriptions s ON s.tenant = $1 AND';

/** Rows of the tenant in the order of their deletion: rows that refer to another row come before it. */
export const tenantRows: readonly Deletion[] = [
  partitioned('attempts'),
  partitioned('deliveries'),
  partitioned('events', `, forgotten AS (DELETE FROM event_ids WHERE event_row_id = ANY ($1::uuid[]))`),
  changing(byId('rejected_events')),
  changing(byPlace('uncounted_attempts', 'WHERE r.tenant = $1')),
  changing(byPlace('attempt_counts', `WHERE r.scope = 'tenant:' || $1`)),
  changing(byPlace('attempt_counts', `${OF_SUBSCRIPTIONS} r.scope = s.id::text`)),
  changing(byPlace('matching_settings', `${OF_SUBSCRIPTIONS} r.subscription_id = s.id`)),
  changing(byPlace('notice_limits', 'WHERE r.tenant = $1')),
  changing(byPlace('alerts', `${OF_SUBSCRIPTIONS} r.subject = s.id::text`)),
  changing(byPlace('audit_log', `WHERE r.tenant = $1 AND r.mutation <> 'eraseTenant'`)),
];

/**
 * Rows that processes may still read while they finish. The row in `tenants` is kept: it contains the tenant's name and
 * a version, by which processes recognise later changes.
 */
export const lastRows: readonly Deletion[] = [
  // Deletes their states and signing secrets, too.
  changing(byId('webhook_subscriptions')),
  changing(byId('api_keys')),
];

/** The ids of the tenant's next webhook subscriptions after `id`, in ascending order, also deleted ones; at most BATCH. */
export async function subscriptionsAfter(
  db: Queryable,
  { tenant, id }: { readonly tenant: string; readonly id: string },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM webhook_subscriptions WHERE tenant = $1 AND id > $2::uuid ORDER BY id LIMIT $3',
    [tenant, id, BATCH],
  );
  return rows.map(({ id: next }) => next);
}

/** The subscriptions with a delivery of an event, in the order of their ids. */
export async function recipientsOf(db: Queryable, eventRowId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT DISTINCT subscription_id AS id FROM deliveries WHERE event_id = $1::uuid AND id >= $2::uuid ORDER BY 1',
    [eventRowId, leastChildId(eventRowId)],
  );
  return rows.map(({ id }) => id);
}

function changing(sql: string): Deletion {
  return async (db, tenant) => {
    const { length: count } = (await db.query(`${sql} RETURNING 1`, [tenant, BATCH])).rows;
    return { count, isDone: count === 0 };
  };
}

function byId(table: string): string {
  return `DELETE FROM ${table} WHERE id = ANY (ARRAY(SELECT id FROM ${table} WHERE tenant = $1 LIMIT $2))`;
}

/** For tables without an index by tenant and id: finds rows by their ctid. */
function byPlace(table: string, condition: string): string {
  return `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(SELECT r.ctid FROM ${table} r ${condition} LIMIT $2))`;
}

/** Uses two statements, because Postgres excludes partitions only if it knows the bounds of the ids. */
function partitioned(table: 'events' | 'deliveries' | 'attempts', others = ''): Deletion {
  const deletion = `
    WITH deleted AS (
      DELETE FROM ${table} WHERE id = ANY (ARRAY(
        SELECT id FROM ${table} WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid FOR UPDATE SKIP LOCKED
      )) AND id BETWEEN $2::uuid AND $3::uuid RETURNING 1
    )${others} SELECT count(*)::integer AS count FROM deleted`;
  return async (db, tenant) => {
    const { rows: found } = await db.query<{ id: string }>(
      `SELECT id FROM ${table} WHERE tenant = $1 ORDER BY id LIMIT $2`,
      [tenant, BATCH],
    );
    if (found.length === 0) return { count: 0, isDone: true };
    const ids = found.map(({ id }) => id);
    const { rows } = await db.query<{ count: number }>(deletion, [ids, ...idRange(ids)]);
    // Locked rows remain for the next batch.
    return { count: rows[0]?.count ?? 0, isDone: false };
  };
}

/** Removes the response bodies of an event's attempts, and returns the number of attempts that had one. */
export async function eraseResponseBodies(db: Queryable, eventRowId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(ERASE_BODIES, [eventRowId, leastChildId(eventRowId)]);
  return rows[0]?.count ?? 0;
}

const ERASE_BODIES = `
  WITH erased AS (
    UPDATE attempts SET response_body = NULL, response_body_truncated = false
    WHERE delivery_id = ANY (ARRAY(SELECT id FROM deliveries WHERE event_id = $1::uuid AND id >= $2::uuid))
      AND id >= $2::uuid AND response_body IS NOT NULL
    RETURNING 1
  )
  SELECT count(*)::integer AS count FROM erased`;
