import type { Queryable } from './transaction.ts';

/** Postgres's time in milliseconds since 1970: what is old is not for each process's own clock to say. */
export async function readClock(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ now: number }>(
    'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
  );
  if (rows[0] === undefined) throw new Error('Postgres did not say the time');
  return rows[0].now;
}
