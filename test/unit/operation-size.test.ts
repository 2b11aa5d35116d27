import { parse } from 'graphql';
import { expect, it } from 'vitest';
import { measureOperations } from '../../src/server/plugins/limits.ts';

function sizeOf(text: string) {
  return measureOperations(parse(text, { noLocation: true })).map(({ size }) => size);
}

it.each([
  ['{ a }', { depth: 1, aliases: 0, directives: 0, rootFields: 1 }],
  ['{ a { b } c { d { e } } }', { depth: 3, rootFields: 2 }],
  ['{ x: a { y: b } z: c }', { aliases: 3, rootFields: 2 }],
  ['query @one { a @two { b @three } ... @four { c } }', { directives: 4, depth: 2, rootFields: 2 }],
  // Fragments add no level, and count at each spread.
  ['{ ...F ...F } fragment F on Q { x: a { b } }', { depth: 2, aliases: 2, rootFields: 2 }],
  ['{ a { ... on T { ...F @one } } } fragment F on T { b { c @two } }', { depth: 3, directives: 2, rootFields: 1 }],
  // Invalid documents are measured as well, and the measurement ends.
  ['{ ...F } fragment F on Q { a ...F }', { depth: 1, rootFields: 1 }],
  ['{ a ...Nowhere }', { depth: 1, rootFields: 1 }],
  ['{ __schema { types { fields { type { name } } } } a { b } }', { depth: 2 }],
])('the size of %s', (text, size) => {
  expect(sizeOf(text)).toMatchObject([size]);
});

it('every operation of a document is measured', () => {
  expect(sizeOf('query A { a } mutation B { b { c } d }')).toMatchObject([{ depth: 1 }, { depth: 2, rootFields: 2 }]);
});

it('fragments that spread others twice do not take exponential time', () => {
  const fragments = Array.from({ length: 200 }, (_, n) => `fragment F${n} on Q { ...F${n + 1} ...F${n + 1} }`);
  expect(sizeOf(`{ ...F0 } ${fragments.join(' ')} fragment F200 on Q { x: a }`)).toMatchObject([{ aliases: 2 ** 200 }]);
});
