import { expect, test } from 'vitest';
import { placeInSchema } from './place-in-schema.ts';

const SCHEMA = {
  properties: {
    user: { properties: { age: { type: 'number' } }, additionalProperties: false },
    lines: { items: { properties: { price: { type: 'number' } } } },
    pair: { prefixItems: [{ type: 'string' }], items: { type: 'number' } },
    either: { oneOf: [{ properties: { a: { type: 'number' } } }] },
  },
};

test.for([
  ['data', ''],
  ['data.user.age', 'properties.user.properties.age'],
  ['data.user.name', 'properties.user.additionalProperties'],
  ['data.lines.12.price', 'properties.lines.items.properties.price'],
  ['data.pair.0', 'properties.pair.prefixItems.0'],
  ['data.pair.1', 'properties.pair.items'],
  ['data.either.a', 'properties.either'],
  ['data.constructor.name', ''],
] as const)('the rule for %s is at "%s"', ([path, place]) => {
  expect(placeInSchema(SCHEMA, path)).toBe(place);
});

test('a type without a schema has no place', () => {
  expect(placeInSchema(null, 'data.total')).toBe('');
});
