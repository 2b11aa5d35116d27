import type { Queryable } from '../postgres/transaction.ts';

/** Of two keys, so that it is none of the locks of one. */
const LOCK = 57_031;

/** Lets one transaction at a time start a replay of the tenant, until it ends; false: another one is at it. */
export async function lockReplayStart(db: Queryable, tenant: string): Promise<boolean> {
  const { rows } = await db.query<{ isOurs: boolean }>(
    'SELECT pg_try_advisory_xact_lock($1::integer, hashtext($2::text)) AS "isOurs"',
    [LOCK, tenant],
  );
  return rows[0]?.isOurs === true;
}
