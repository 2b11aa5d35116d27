import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { POSSIBLE_TYPES } from './possible-types.ts';

test('the cache knows every type of every interface of the schema', () => {
  const schema = readFileSync(new URL('../../schema.graphql', import.meta.url), 'utf8');
  const types: Record<string, string[]> = {};
  for (const [, name = '', interfaces = ''] of schema.matchAll(/^type (\w+) implements ([\w &]+) \{/gm)) {
    for (const each of interfaces.split(' & ')) (types[each] ??= []).push(name);
  }
  const sorted = Object.entries(POSSIBLE_TYPES).map(([name, of]) => [name, [...of].sort()]);
  expect(Object.fromEntries(sorted)).toEqual(types);
});
