import { createHash } from 'node:crypto';

/** A number from 0 to 1 that depends only on the seed and the key, not on the order of calls. */
export function seededChance(seed: number, key: string): number {
  return createHash('sha256').update(`${seed} ${key}`).digest().readUInt32BE(0) / 2 ** 32;
}
