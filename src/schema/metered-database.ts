import type { Database } from '../database/client.ts';
import type { OperationWork } from './operation-work.ts';

/** The database as one operation sees it: its pages count against the operation's budget of bytes. */
export function meterDatabase(database: Database, { readPage }: Pick<OperationWork, 'readPage'>): Database {
  const metered = database.prisma.$extends({
    query: {
      $allModels: { findMany: ({ args, query }) => readPage(async () => query(args)) },
    },
  });
  // `as`: the extension changes neither arguments nor results, only its type has less than the original's.
  return { ...database, prisma: metered as unknown as Database['prisma'] };
}
