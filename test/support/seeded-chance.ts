import { createHash } from 'node:crypto';

/** A number from 0 to 1 that depends on the seed and the key alone, whatever the order in which it is asked for. */
export function seededChance(seed: number, key: string): number {
  return createHash('sha256').update(`${seed} ${key}`).digest().readUInt32BE(0) / 2 ** 32;
}
