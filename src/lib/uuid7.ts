import { createHash, randomBytes } from 'node:crypto';

/**
 * A UUIDv7 (RFC 9562, section 5.7) of this millisecond: with the random bits of `seed`'s hash if a seed is given, so
 * that the same moment and seed always make the same id, else with fresh ones.
 */
export function uuid7(timeMs: number, seed?: string): string {
  const bits = seed === undefined ? randomBytes(16) : createHash('sha256').update(seed).digest().subarray(0, 16);
  return format(timeMs, bits);
}

const MAX_COUNT = 0xfff;
const SOURCE_BYTES = 6;

/** A clock that goes back further than this has been put right; less is how clocks are corrected in passing. */
const MAX_SET_BACK_MS = 1_000;

/**
 * Makes UUIDv7s that grow in the order they are made, also within a millisecond (RFC 9562, section 6.2, method 1), and
 * that all end in the same random 48 bits, by which they are known to come from this sequence. When the clock is set back, a new sequence begins, as after a restart:
 * its ids have the right time again, and other last 48 bits.
 */
export function createIdSequence(): (timeMs: number) => string {
  // The time and the count are written over in place: fresh random bytes for each id would cost more than all the rest of it.
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

/** The sequence that an id comes from; one of its own for any other id. */
export function uuid7Source(id: string): string {
  return id.slice(-2 * SOURCE_BYTES);
}

/** The smallest UUID of this millisecond or later: where a range of ids begins that is a range of time, also before 1970. */
export function uuid7Floor(timeMs: number): string {
  const hex = Math.max(0, timeMs).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** The millisecond a UUIDv7 carries. */
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

/** The smallest and the largest of these UUIDs: with them, Postgres leaves out the partitions that have none of them. */
export function idRange(ids: readonly string[]): [string, string] {
  let [least = '', greatest = ''] = [ids[0], ids[0]];
  for (const id of ids) {
    if (id < least) least = id;
    if (id > greatest) greatest = id;
  }
  return [least, greatest];
}

/**
 * How far the clocks may be apart that give ids: those of the senders, of the broker, and of Postgres. What belongs to a
 * row, or to a time, is looked for this much further than its own clock says.
 */
export const CLOCK_DRIFT_MS = 5 * 60_000;

/** The least id that what belongs to this row, and was made after it, can have. */
export function leastChildId(parentId: string): string {
  return uuid7Floor(uuid7Time(parentId) - CLOCK_DRIFT_MS);
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Postgres refuses to compare a UUID column with anything else. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}
