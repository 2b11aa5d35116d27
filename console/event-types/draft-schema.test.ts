import { expect, test } from 'vitest';
import { draftSchema } from './draft-schema.ts';

test('a draft has the types of all members, and requires those that each example has', () => {
  const examples = [
    { id: 'a', total: 5, items: [{ sku: 'x', count: 1 }], note: null },
    { id: 'b', total: 5.5, items: [], note: 'late', coupon: 'SALE' },
  ];
  expect(draftSchema(examples)).toEqual({
    type: 'object',
    required: ['id', 'total', 'items', 'note'],
    properties: {
      id: { type: 'string' },
      total: { type: 'number' },
      items: {
        type: 'array',
        items: {
          type: 'object',
          required: ['sku', 'count'],
          properties: { sku: { type: 'string' }, count: { type: 'integer' } },
        },
      },
      note: { type: ['null', 'string'] },
      coupon: { type: 'string' },
    },
  });
});

test('a draft is bounded: deep values and objects with many members allow anything inside', () => {
  const wide = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`id${index}`, index]));
  expect(draftSchema([{ wide }])).toEqual({
    type: 'object',
    required: ['wide'],
    properties: { wide: { type: 'object' } },
  });
  const deep = Array.from({ length: 10_000 }).reduce<unknown>((inner) => [inner], 1);
  expect(JSON.stringify(draftSchema([deep])).length).toBeLessThan(400);
  expect(draftSchema([JSON.parse('{"__proto__":1}')]).properties).toHaveProperty(['__proto__'], { type: 'integer' });
});
