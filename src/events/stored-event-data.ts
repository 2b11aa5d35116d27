import { idRange } from '../lib/id-range.ts';
import type { Queryable } from '../postgres/transaction.ts';

/** How large the data of these events are, in bytes, by their rows' ids. */
export async function sizesOfEventData(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { rows } = await db.query<{ id: string; bytes: number }>(
    'SELECT id, octet_length(data) AS bytes FROM events WHERE id = ANY($1::uuid[]) AND id BETWEEN $2 AND $3',
    [ids, ...idRange(ids)],
  );
  return new Map(rows.map(({ id, bytes }) => [id, bytes]));
}

/** The data of these events, by their rows' ids. */
export async function readEventData(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
  if (ids.length === 0) return new Map();
  const { rows } = await db.query<{ id: string; data: Buffer }>(
    'SELECT id, data FROM events WHERE id = ANY($1::uuid[]) AND id BETWEEN $2 AND $3',
    [ids, ...idRange(ids)],
  );
  return new Map(rows.map(({ id, data }) => [id, data]));
}
