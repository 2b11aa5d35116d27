import { isUuid } from '../../lib/uuid7.ts';
import type { ChangedTable } from '../../postgres/changes.ts';

const XID = /^\d{1,20}$/;
/** The largest value of Postgres's type xid8. */
const MAX_XID = 2n ** 64n - 1n;
/** Maximum transactions in progress in a snapshot of Postgres, which has fewer connections. */
const MAX_IN_PROGRESS = 5_000;
/**
 * Maximum transactions in progress in a cursor, whose text a client can invent: each change that is read after it costs
 * time for each of them.
 */
const MAX_IN_CURSOR = 500;

/** A snapshot of Postgres: the set of transactions that had ended when it was taken. */
export class Snapshot {
  /** This transaction and all later ones had not ended. */
  readonly xmax: bigint;
  /** The earlier transactions that had not ended. */
  readonly inProgress: ReadonlySet<bigint>;

  constructor(xmax: bigint, inProgress: Iterable<bigint>) {
    this.xmax = xmax;
    this.inProgress = new Set(inProgress);
  }

  /** Parses the text that Postgres prints, `xmin:xmax:xip`; returns undefined for any other text. */
  static parse(text: string, max = MAX_IN_PROGRESS): Snapshot | undefined {
    const [xmin = '', xmax = '', list, ...rest] = text.split(':');
    const xids = list === '' ? [] : (list ?? '').split(',', max + 1);
    if (rest.length > 0 || xids.length > max) return undefined;
    if (![xmin, xmax, ...xids].every(isXid)) return undefined;
    return new Snapshot(BigInt(xmax), xids.map(BigInt));
  }

  has(xid: bigint): boolean {
    return xid < this.xmax && !this.inProgress.has(xid);
  }

  /** Whether every transaction in the other snapshot is also in this one. */
  includes(other: Snapshot): boolean {
    return this.xmax >= other.xmax && [...this.inProgress].every((xid) => !other.has(xid));
  }

  /** Returns the union of this snapshot and the transactions of a later one up to `xid`. */
  extendedTo(xid: bigint, later: Snapshot): Snapshot {
    const xmax = xid < this.xmax ? this.xmax : xid + 1n;
    const inProgress = [
      ...[...later.inProgress].filter((other) => other <= xid),
      ...[...this.inProgress].filter((other) => other > xid),
    ];
    return new Snapshot(xmax, inProgress);
  }

  /**
   * With more than MAX_IN_CURSOR transactions in progress, ends the snapshot before the next one: the transactions
   * beyond are read again rather than missed.
   */
  toString(): string {
    const sorted = [...this.inProgress].sort((one, other) => (one < other ? -1 : 1));
    const xids = sorted.slice(0, MAX_IN_CURSOR);
    const xmax = sorted[MAX_IN_CURSOR] ?? this.xmax;
    return `${xids[0] ?? xmax}:${xmax}:${xids.join(',')}`;
  }
}

/** Postgres raises an error for a larger number. */
function isXid(text: string): boolean {
  return XID.test(text) && BigInt(text) <= MAX_XID;
}

/** Replaces the table in a position that is only a snapshot, because a snapshot covers the whole database. */
const EVERY_TABLE = 'all';

/** A changed row, and the transaction that changed it. */
export type Change = { readonly xid: bigint; readonly id: string };

/** `isLast`: whether this is the last change of its transaction. */
export type OrderedChange = Change & { readonly isLast: boolean };

/**
 * The position of a reader in the changes of one table: the transactions whose changes were seen, and the last seen row
 * of the transaction after them. Changes are read by transaction, and within a transaction by id.
 */
export class ChangePosition {
  readonly seen: Snapshot;
  readonly #next: Change | undefined;

  constructor(seen: Snapshot, next?: Change) {
    this.seen = seen;
    this.#next = next;
  }

  /** Parses the text of `toString`; returns undefined for any other text, and for a position of another table. */
  static parse(text: string, table: ChangedTable): ChangePosition | undefined {
    const [name, snapshot = '', xid, id, ...rest] = text.split('~');
    const seen = Snapshot.parse(snapshot, MAX_IN_CURSOR);
    if ((name !== table && name !== EVERY_TABLE) || seen === undefined || rest.length > 0) return undefined;
    if (xid === undefined) return new ChangePosition(seen);
    if (!isXid(xid) || id === undefined || !isUuid(id)) return undefined;
    return new ChangePosition(seen, { xid: BigInt(xid), id: id.toLowerCase() });
  }

  has({ xid, id }: Change): boolean {
    return this.seen.has(xid) || (xid === this.#next?.xid && id <= this.#next.id);
  }

  /** Returns the position after a change, if all changes before it in `snapshot` have been seen. */
  after({ xid, id, isLast }: OrderedChange, snapshot: Snapshot): ChangePosition {
    return isLast
      ? new ChangePosition(this.seen.extendedTo(xid, snapshot))
      : new ChangePosition(this.seen.extendedTo(xid - 1n, snapshot), { xid, id });
  }

  /** Formats the position. Without a table: a position in the changes of every table. */
  toString(table: ChangedTable | typeof EVERY_TABLE = EVERY_TABLE): string {
    const next = this.#next === undefined ? [] : [String(this.#next.xid), this.#next.id];
    return [table, this.seen.toString(), ...next].join('~');
  }
}

/** Returns the changes in reading order, each row once: a later change of a row replaces an earlier one. */
export function inOrder(changes: Iterable<Change>): OrderedChange[] {
  const latest = new Map<string, bigint>();
  for (const { xid, id } of changes) if ((latest.get(id) ?? -1n) < xid) latest.set(id, xid);
  const ordered = [...latest].map(([id, xid]) => ({ xid, id }));
  ordered.sort((one, other) => (one.xid === other.xid ? (one.id < other.id ? -1 : 1) : one.xid < other.xid ? -1 : 1));
  return ordered.map((change, index) => ({ ...change, isLast: ordered[index + 1]?.xid !== change.xid }));
}
