import { createHash, randomBytes } from 'node:crypto';

/**
 * Creates a UUIDv7 (RFC 9562, section 5.7) of this millisecond. Its random bits come from the hash of `seed`, so that
 * the same time and seed always create the same id; without a seed they are random.
 */
export function uuid7(timeMs: number, seed?: string): string {
  const bits = seed === undefined ? randomBytes(16) : createHash('sha256').update(seed).digest().subarray(0, 16);
  return format(timeMs, bits);
}

const MAX_COUNT = 0xfff;
const SOURCE_BYTES = 6;

/** Milliseconds. A larger step back means that the clock was set; a smaller one is an ordinary correction. */
const MAX_SET_BACK_MS = 1_000;

/**
 * Creates UUIDv7s in ascending order, also within a millisecond (RFC 9562, section 6.2, method 1). All end in the same
 * random 48 bits, which identify the sequence. When the clock is set back, a new sequence begins, as after a restart:
 * its ids have the new time, and other last 48 bits.
 */
export function createIdSequence(): (timeMs: number) => string {
  // Only the time and the count change: new random bytes for each id would cost more than the rest of this function.
  let source = randomBytes(16);
  let lastMs = 0;
  let count = 0;
  return (timeMs) => {
    if (timeMs < lastMs - MAX_SET_BACK_MS) {
      source = randomBytes(16);
      lastMs = 0;
    }
    count = timeMs > lastMs ? 0 : count + 1;
    lastMs = Math.max(lastMs, timeMs);
    if (count > MAX_COUNT) {
      lastMs += 1;
      count = 0;
    }
    const bits = Buffer.from(source);
    bits.writeUInt16BE(count, 6);
    return format(lastMs, bits);
  };
}

/** Identifies the sequence that created the id. Ids that no sequence created have a source of their own. */
export function uuid7Source(id: string): string {
  return id.slice(-2 * SOURCE_BYTES);
}

/**
 * The smallest UUID of this millisecond: the lower bound of a range of ids that is a range of time. Accepts times
 * before 1970.
 */
export function uuid7Floor(timeMs: number): string {
  const hex = Math.max(0, timeMs).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** Bounds of a range of ids without a lower or an upper end. */
export const LEAST_UUID = '00000000-0000-0000-0000-000000000000';
export const GREATEST_UUID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/** The milliseconds since 1970 that a UUIDv7 contains. */
export function uuid7Time(id: string): number {
  return Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
}

function format(timeMs: number, bits: Buffer): string {
  bits.writeUIntBE(timeMs, 0, 6);
  bits.writeUInt8((bits.readUInt8(6) & 0x0f) | 0x70, 6);
  bits.writeUInt8((bits.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bits.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The smallest and the largest of these UUIDs. As bounds in a statement, they let Postgres prune partitions. */
export function idRange(ids: readonly string[]): [string, string] {
  let [least = '', greatest = ''] = [ids[0], ids[0]];
  for (const id of ids) {
    if (id < least) least = id;
    if (id > greatest) greatest = id;
  }
  return [least, greatest];
}

/**
 * Maximum milliseconds between the clocks that create ids: those of the senders, of the broker, and of Postgres. Rows
 * that belong to another row, or to a time, are searched in a range that is wider by this.
 */
export const CLOCK_DRIFT_MS = 5 * 60_000;

/** The smallest possible id of a row that was created for this one later. */
export function leastChildId(parentId: string): string {
  return uuid7Floor(Math.max(0, uuid7Time(parentId) - CLOCK_DRIFT_MS));
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Postgres raises an error if a UUID column is compared with any other text. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}
