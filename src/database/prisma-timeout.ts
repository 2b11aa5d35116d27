import { Prisma } from '../generated/prisma/client.ts';

/** SQLSTATE query_canceled. */
const CANCELED = '57014';

/** Whether Postgres gave up a statement of Prisma's because it took too long. */
export function isPrismaTimeout(error: unknown): boolean {
  if (!(error instanceof Prisma.PrismaClientKnownRequestError)) return false;
  const adapterError = error.meta?.['driverAdapterError'];
  const cause = adapterError instanceof Error ? adapterError.cause : undefined;
  return typeof cause === 'object' && cause !== null && 'originalCode' in cause && cause.originalCode === CANCELED;
}
