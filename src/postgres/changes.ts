/*
 * The journal of changes, which live streams read (delivery-log/changes, ADR 31). Each statement that changes events,
 * rejected events or deliveries records their ids in one row of `changes`, in the same transaction, while readers exist
 * (`change_readers`). Triggers record changes of jobs while readers exist (job_changed), and the rare ones of webhook
 * subscriptions always (webhook_subscription_changed, subscription_state_changed): see
 * prisma/migrations/0001_initial/migration.sql.
 */

/** The columns of `changes`; each contains the ids of changed rows of the table with its name. */
export type ChangedTable = 'events' | 'rejected_events' | 'deliveries' | 'subscriptions' | 'jobs';

/**
 * A CTE that records changed rows. `ctes`: for each table, the name of the CTE that returns the `id` of its changed rows.
 * Nothing is recorded if no CTE returns rows. Without readers, the condition costs one read of an empty table.
 */
export function recordChanges(ctes: Partial<Record<ChangedTable, string>>): string {
  const tables = Object.keys(ctes).join(', ');
  const lists = Object.entries(ctes).map(([table, cte]) => `(SELECT array_agg(id) FROM ${cte}) AS ${table}`);
  return `recorded AS (
    INSERT INTO changes (${tables})
    SELECT ${tables} FROM (SELECT ${lists.join(', ')}) AS changed
    WHERE EXISTS (SELECT FROM change_readers WHERE until > now()) AND coalesce(${tables}) IS NOT NULL
  )`;
}
