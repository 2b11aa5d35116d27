import { splitList } from './text.ts';

/** The values of a key that is being rotated. The first one seals; all of them open or are accepted. */
export type Keys = readonly [current: string, ...older: string[]];

/** Reads values separated by commas. Empty values are ignored. */
export function splitKeys(text: string): Keys {
  const [current = '', ...older] = splitList(text);
  return [current, ...older];
}
