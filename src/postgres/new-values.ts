import type { PrismaPg } from '@prisma/adapter-pg';
import { FailureReason, RejectionReason, WaitReason } from '../generated/prisma/enums.ts';

type Adapter = Awaited<ReturnType<PrismaPg['connect']>>;
type Reader = Pick<Adapter, 'queryRaw'>;
type Column = { readonly known: Readonly<Record<string, string>>; readonly substitute: string | null };

/**
 * Columns of the enum types that may get new values within a major version (docs/upgrade.md). A newer version may have
 * written a value that this version does not know, during a rolling upgrade or before a downgrade: this version then
 * reads `substitute` in its place.
 */
const COLUMNS: Readonly<Record<string, Column>> = {
  failure_reason: { known: FailureReason, substitute: FailureReason.OTHER },
  // Only the table rejected_events has this column.
  reason: { known: RejectionReason, substitute: RejectionReason.OTHER },
  // Without a known reason, the delivery is still due at its time.
  waiting_for: { known: WaitReason, substitute: null },
};

/** Replaces unknown enum values below Prisma, which otherwise rejects the whole page because of one such value. */
export function substituteNewValues(factory: PrismaPg): PrismaPg {
  const connect = factory.connect.bind(factory);
  factory.connect = async () => {
    const adapter = substituteInReads(await connect());
    const startTransaction = adapter.startTransaction.bind(adapter);
    adapter.startTransaction = async (isolationLevel) => substituteInReads(await startTransaction(isolationLevel));
    return adapter;
  };
  return factory;
}

function substituteInReads<T extends Reader>(reader: T): T {
  const queryRaw = reader.queryRaw.bind(reader);
  reader.queryRaw = async (query) => {
    const result = await queryRaw(query);
    result.columnNames.forEach((name, index) => {
      const column = Object.hasOwn(COLUMNS, name) ? COLUMNS[name] : undefined;
      if (column === undefined) return;
      for (const row of result.rows) {
        const value = row[index];
        if (typeof value === 'string' && !Object.hasOwn(column.known, value)) row[index] = column.substitute;
      }
    });
    return result;
  };
  return reader;
}

/** Returns the reason, or OTHER for a reason that a process of a newer version has announced. */
export function knownFailureReason(reason: FailureReason | null): FailureReason | null {
  return reason === null || Object.hasOwn(FailureReason, reason) ? reason : FailureReason.OTHER;
}
