import type { Prisma } from '../generated/prisma/client.ts';
import type { Queryable } from './transaction.ts';

/** Runs statements of ours in a transaction of Prisma's, which cannot read columns of type void. */
export function inPrismaTransaction(client: Prisma.TransactionClient): Queryable {
  return { query: async (text, values = []) => ({ rows: await client.$queryRawUnsafe(text, ...values) }) };
}
