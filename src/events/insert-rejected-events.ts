import type { Queryable } from '../postgres/transaction.ts';

export type NewRejectedEvent = {
  readonly id: string;
  readonly tenant: string | undefined;
  readonly subject: string;
  readonly reason: string;
  readonly message: string;
  readonly sizeBytes: number;
};

/** Records rejections and returns those that had not been recorded before. */
export async function insertRejectedEvents(
  db: Queryable,
  rejections: readonly NewRejectedEvent[],
): Promise<NewRejectedEvent[]> {
  const { rows } = await db.query<{ id: string }>(
    `INSERT INTO rejected_events (id, tenant, subject, reason, message, size_bytes)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::rejection_reason[], $5::text[], $6::integer[])
     ON CONFLICT DO NOTHING RETURNING id`,
    [
      rejections.map((rejection) => rejection.id),
      rejections.map((rejection) => rejection.tenant ?? null),
      rejections.map((rejection) => rejection.subject),
      rejections.map((rejection) => rejection.reason),
      rejections.map((rejection) => rejection.message),
      rejections.map((rejection) => rejection.sizeBytes),
    ],
  );
  const recorded = new Set(rows.map(({ id }) => id));
  return rejections.filter(({ id }) => recorded.has(id));
}
