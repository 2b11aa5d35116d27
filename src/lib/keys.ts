import { splitList } from './text.ts';

/** The values of a key during its rotation. The first one seals; each of them opens or is accepted. */
export type Keys = readonly [current: string, ...older: string[]];

/** Parses values separated by commas. Ignores empty values. */
export function splitKeys(text: string): Keys {
  const [current = '', ...older] = splitList(text);
  return [current, ...older];
}
