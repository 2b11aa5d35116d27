import type { Queryable } from '../../postgres/transaction.ts';

export type ChangedSchema = {
  /** The event type. */
  readonly name: string;
  readonly version: number;
  /** JSON Schema; null if the type has none. */
  readonly schema: unknown;
};

/** Of these event types, those in the catalogue that changed after the version that is known of them (0: none). */
export async function changedSchemas(db: Queryable, known: ReadonlyMap<string, number>): Promise<ChangedSchema[]> {
  const { rows } = await db.query<Omit<ChangedSchema, 'version'> & { version: string }>(
    `SELECT t.name, t.version, t.schema
     FROM unnest($1::text[], $2::bigint[]) AS known (name, version)
     JOIN event_types t ON t.name = known.name AND t.version > known.version`,
    [[...known.keys()], [...known.values()]],
  );
  return rows.map((row) => ({ ...row, version: Number(row.version) }));
}
