import type { PrismaPg } from '@prisma/adapter-pg';
import { FailureReason, RejectionReason, WaitReason } from '../generated/prisma/enums.ts';

type Adapter = Awaited<ReturnType<PrismaPg['connect']>>;
type Reader = Pick<Adapter, 'queryRaw'>;
type Column = { readonly known: Readonly<Record<string, string>>; readonly substitute: string | null };

/**
 * Columns of the enum types that may get values within a major version (docs/upgrade.md), and what this version reads in
 * place of a value that a newer one has written, during a rolling upgrade or after a downgrade.
 */
const COLUMNS: Readonly<Record<string, Column>> = {
  failure_reason: { known: FailureReason, substitute: FailureReason.OTHER },
  // The column is in rejected_events only.
  reason: { known: RejectionReason, substitute: RejectionReason.OTHER },
  // The delivery is due at its time, for whatever reason.
  waiting_for: { known: WaitReason, substitute: null },
};

/** Prisma rejects a whole page because of one value that its enums do not have, so such values are replaced below it. */
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

/** The reason itself, or the one that stands for reasons of newer versions, which other processes announce. */
export function knownFailureReason(reason: FailureReason | null): FailureReason | null {
  return reason === null || Object.hasOwn(FailureReason, reason) ? reason : FailureReason.OTHER;
}
