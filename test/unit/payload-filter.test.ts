import { describe, expect, it, test } from 'vitest';
import { compileFilter, failedPaths } from '../../src/events/matching/filter.ts';
import { validateFilter } from '../../src/events/matching/filter-validation.ts';
import { leastCpuMs } from '../support/cpu-time.ts';
import { evaluate, randomCase } from '../support/filter-reference.ts';

const DATA = {
  status: 'paid',
  total: 12.5,
  note: null,
  'a.b': 1,
  '': 'empty name',
  customer: { plan: 'gold', address: { country: 'FR' } },
  tags: ['vip', 'new'],
  items: [
    { sku: 'x', quantity: 1 },
    { sku: 'y', quantity: 5, options: ['red'] },
  ],
  none: [],
  matrix: [[1, 2], [3]],
  big: 9_007_199_254_740_993,
};

/** Each filter, and whether it matches DATA. */
const EXAMPLES: readonly [filter: unknown, expected: boolean][] = [
  // Implicit equality, paths, conjunction
  [{ status: 'paid' }, true],
  [{ status: 'Paid' }, false],
  [{ status: 'paid', total: 12.5 }, true],
  [{ status: 'paid', total: 12 }, false],
  [{ customer: { plan: 'gold', address: { country: 'FR' } } }, true],
  [{ customer: { plan: 'gold', address: { country: 'DE' } } }, false],
  [{ 'a.b': 1 }, true],
  [{ 'customer.plan': 'gold' }, false],
  [{ '': 'empty name' }, true],
  // No coercion
  [{ total: '12.5' }, false],
  [{ total: { $gt: '1' } }, false],
  [{ status: { $gt: 1 } }, false],
  [{ note: false }, false],
  // Order
  [{ total: { $gt: 12, $lt: 13 } }, true],
  [{ total: { $gt: 12.5 } }, false],
  [{ total: { $gte: 12.5, $lte: 12.5 } }, true],
  [{ total: { $lt: 12.5 } }, false],
  [{ status: { $gt: 'paic', $lte: 'paid' } }, true],
  [{ status: { $lt: 'a' } }, false],
  [{ status: { $gt: 'Z' } }, true],
  [{ note: { $gte: 0 } }, false],
  // Null and missing
  [{ note: null }, true],
  [{ missing: null }, false],
  [{ missing: { $ne: null } }, true],
  [{ note: { $exists: true } }, true],
  [{ missing: { $exists: false } }, true],
  [{ status: { $exists: false } }, false],
  [{ customer: { address: { zip: { $exists: false } } } }, true],
  [{ status: { length: { $exists: true } } }, false],
  [{ missing: { deeper: { $exists: false } } }, true],
  [{ missing: { $ne: 1 } }, true],
  [{ missing: { $nin: [1, null] } }, true],
  [{ missing: { $gt: 0 } }, false],
  [{ missing: { $in: [null] } }, false],
  // Lists
  [{ status: { $in: ['open', 'paid'] } }, true],
  [{ status: { $in: ['open'] } }, false],
  [{ note: { $in: [null] } }, true],
  [{ status: { $nin: ['open', 'paid'] } }, false],
  [{ status: { $startsWith: 'pa' } }, true],
  [{ status: { $startsWith: 'PA' } }, false],
  [{ total: { $startsWith: '1' } }, false],
  // Arrays of scalars
  [{ tags: 'vip' }, true],
  [{ tags: ['vip', 'new'] }, true],
  [{ tags: ['new', 'vip'] }, false],
  [{ tags: { $eq: ['vip'] } }, false],
  [{ tags: { $ne: 'vip' } }, false],
  [{ tags: { $ne: 'old' } }, true],
  [{ tags: { $in: ['old', 'new'] } }, true],
  [{ tags: { $nin: ['old', 'new'] } }, false],
  [{ tags: { $startsWith: 'ne' } }, true],
  [{ tags: { $gt: 'u', $lt: 'o' } }, true],
  [{ tags: { $exists: true } }, true],
  [{ tags: { $and: [{ $eq: 'vip' }, { $eq: 'new' }] } }, true],
  [{ none: [] }, true],
  [{ none: { $ne: 1 } }, true],
  [{ none: { $eq: null } }, false],
  [{ matrix: [3] }, true],
  [{ matrix: 3 }, false],
  // Arrays of objects: one element must fulfil all conditions
  [{ items: { sku: 'y' } }, true],
  [{ items: { sku: 'x', quantity: 5 } }, false],
  [{ items: { sku: 'y', quantity: { $gt: 4 } } }, true],
  [{ $and: [{ items: { sku: 'x' } }, { items: { quantity: 5 } }] }, true],
  [{ items: { sku: 'x', $or: [{ quantity: 5 }, { options: 'red' }] } }, false],
  [{ items: { sku: 'y', $or: [{ quantity: 1 }, { options: 'red' }] } }, true],
  [{ items: { sku: { $ne: 'x' } } }, true],
  [{ items: { $not: { sku: 'x' } } }, false],
  [{ items: { $not: { sku: 'z' } } }, true],
  [{ items: { options: { $exists: false } } }, true],
  [{ items: { options: 'red', quantity: { $gte: 5 } } }, true],
  [{ none: { sku: { $exists: false } } }, false],
  [{ tags: { length: { $exists: false } } }, false],
  // Deep equality
  [{ customer: { $eq: { address: { country: 'FR' }, plan: 'gold' } } }, true],
  [{ customer: { $eq: { plan: 'gold' } } }, false],
  [{ customer: { address: { $ne: { country: 'DE' } } } }, true],
  [{ items: { $eq: { quantity: 1, sku: 'x' } } }, true],
  [{ items: { $eq: { sku: 'x' } } }, false],
  [{ items: [{ sku: 'x', quantity: 1 }] }, false],
  // Combinations
  [{ $or: [{ status: 'open' }, { total: 12.5 }] }, true],
  [{ $or: [{ status: 'open' }, { total: 12 }] }, false],
  [{ $and: [{ status: 'paid' }, { total: 12 }] }, false],
  [{ $not: { status: 'open' } }, true],
  [{ total: { $not: { $gt: 12 } } }, false],
  [{ total: { $or: [{ $lt: 1 }, { $gt: 12 }] } }, true],
  [{ status: 'paid', $or: [{ total: 1 }, { tags: 'vip' }] }, true],
  // Numbers are compared as doubles
  [{ big: 9_007_199_254_740_992 }, true],
  // Inherited properties of every object
  [{ constructor: { $exists: true } }, false],
  [{ toString: { name: 'toString' } }, false],
];

describe('a filter', () => {
  test.each(EXAMPLES)('%j matches the example: %s', (filter, expected) => {
    expect(validateFilter(filter)).toEqual([]);
    expect(compileFilter(filter)(DATA)).toBe(expected);
    expect(failedPaths(filter, DATA).length === 0).toBe(expected);
    expect(evaluate(filter, DATA)).toBe(expected);
  });

  it.each([
    [{ $eq: 'text' }, 'text', true],
    [{ $gt: 1 }, [0, 2], true],
    [{ status: 'paid' }, [{ status: 'open' }, { status: 'paid' }], true],
    [{ status: { $exists: false } }, 'text', true],
    [{ status: { $exists: false } }, null, true],
    [{ status: 'paid' }, 5, false],
    [{ n: 1 }, JSON.parse('{"__proto__":{"n":1}}'), false],
    [{ n: { $gt: 5 } }, JSON.parse('{"n":1e400}'), true],
    [{ n: 0 }, JSON.parse('{"n":-0}'), true],
  ])('%j matches %j as the whole data: %s', (filter, data, expected) => {
    expect(compileFilter(filter)(data)).toBe(expected);
    expect(evaluate(filter, data)).toBe(expected);
  });

  it('agrees with a naive implementation of its definition for 5,000 random filters and data', {
    timeout: 60_000,
  }, () => {
    const cases = Array.from({ length: 5_000 }, (_, seed) => ({ seed, ...randomCase(seed) }));
    const differing = cases.filter(({ filter, data }) => {
      const expected = evaluate(filter, data);
      const isSame = compileFilter(filter)(data) === expected && (failedPaths(filter, data).length === 0) === expected;
      return !isSame || validateFilter(filter).length > 0;
    });
    expect(differing.slice(0, 3)).toEqual([]);
    // Both outcomes are frequent.
    const holding = cases.filter(({ filter, data }) => evaluate(filter, data)).length;
    expect(holding).toBeGreaterThan(750);
    expect(holding).toBeLessThan(4_250);
  });

  it('matches nothing if it is invalid', () => {
    for (const filter of [undefined, null, [], 'a', {}, { a: { $foo: 1 } }, { $or: [] }, { a: { $gt: null } }]) {
      expect(compileFilter(filter)({ a: 1 })).toBe(false);
    }
  });
});

describe('hostile data', () => {
  const nested = (text: string) =>
    JSON.parse(text.repeat(1_000).replace(/$/, '1') + (text === '[' ? ']' : '}').repeat(1_000)) as unknown;

  it('of 1,000 levels causes no error', () => {
    for (const data of [nested('['), nested('{"a":')]) {
      for (const filter of [{ a: { a: { $exists: true } } }, { a: { $eq: { a: [[1]] } } }, { $eq: [[[[[1]]]]] }]) {
        expect(() => compileFilter(filter)(data)).not.toThrow();
      }
    }
  });

  it('is read for a bounded time at any size', { timeout: 60_000 }, () => {
    let looks = 0;
    const counted = (target: object) =>
      new Proxy(target, {
        get: (from, name) => {
          if (typeof name === 'string' && /^\d+$/.test(name)) looks += 1;
          return Reflect.get(from, name) as unknown;
        },
        ownKeys: (from) => {
          const names = Reflect.ownKeys(from);
          looks += names.length;
          return names;
        },
      });
    const hundred = (make: (index: number) => unknown) => ({
      $or: Array.from({ length: 100 }, (_, index) => ({ a: make(index) })),
    });
    const members = Object.fromEntries(Array.from({ length: 60_000 }, (_, index) => [`m${index}`, 1]));
    const row = (last: number) => [...new Array<number>(50).fill(1), last];
    for (const [filter, a] of [
      [hundred((index) => ({ $gt: index + 10 })), counted(new Array<number>(500_000).fill(1))],
      [hundred((index) => ({ $eq: { m0: index } })), counted(members)],
      [hundred((index) => ({ $eq: row(index + 2) })), Array.from({ length: 9_000 }, () => counted(row(1)))],
    ] as const) {
      looks = 0;
      expect(validateFilter(filter)).toEqual([]);
      expect(compileFilter(filter)({ a })).toBe(false);
      expect(looks).toBeGreaterThan(60_000);
      expect(looks).toBeLessThan(200_000);
    }
  });

  it('does not match a filter that would take more than 100,000 steps, not even a negative one', () => {
    const data = (length: number) => ({ a: new Array<number>(length).fill(1) });
    // The field, $ne twice, and each element.
    expect(compileFilter({ a: { $ne: 2 } })(data(99_997))).toBe(true);
    expect(compileFilter({ a: { $ne: 2 } })(data(99_998))).toBe(false);
    expect(failedPaths({ a: { $ne: 2 } }, data(99_998))).toEqual(['filter.a.$ne']);
    const twice = { $and: [{ a: { $ne: 2 } }, { a: { $ne: 3 } }] };
    expect(compileFilter(twice)(data(60_000))).toBe(false);
    expect(failedPaths(twice, data(60_000))).toEqual(['filter.$and.1.a.$ne']);
  });

  it.each([
    [
      'conditions',
      { items: { x: { $or: Array.from({ length: 98 }, (_, i) => ({ a: { b: { c: { d: i } } } })) } } },
      {},
    ],
    ['negations', { items: { x: { $not: { $not: { $and: [{ $exists: false }, { $eq: 1 }] } } } } }, {}],
    ['long strings', { items: { $gt: 'a'.repeat(16_000) } }, 'a'.repeat(1_500)],
  ])('counts %s of each element as separate steps', (_, filter, element) => {
    const data = (length: number) => ({ items: new Array<unknown>(length).fill(element) });
    expect(validateFilter(filter)).toEqual([]);
    const budget = { left: 100_000 };
    compileFilter(filter)(data(50), budget);
    const spent = 100_000 - budget.left;
    expect(spent / 50).toBeGreaterThan(5);
    const many = data(260_000);
    expect(compileFilter(filter)(many)).toBe(false);
    expect(leastCpuMs(() => compileFilter(filter)(many))).toBeLessThan(250);
  });

  it('has the same step limit for listing the failed conditions as for matching', () => {
    const or = (index: number) => ({ items: { x: { $or: Array.from({ length: 9 }, (_, i) => ({ a: i - index })) } } });
    const filter = { $and: Array.from({ length: 10 }, (_, index) => or(index)) };
    const data = { items: Array.from({ length: 2_000 }, () => ({})) };
    // Each condition takes 40,000 steps.
    expect(failedPaths(filter, data)).toEqual(['filter.$and.0.items', 'filter.$and.1.items', 'filter.$and.2.items']);
  });
});

describe('the failed conditions', () => {
  it.each([
    [{ status: 'paid', total: { $gt: 1 } }, []],
    [{ status: 'open', total: { $gt: 1, $lt: 5 } }, ['filter.status', 'filter.total.$lt']],
    [{ customer: { plan: { $in: ['a'] }, address: { country: 'FR' } } }, ['filter.customer.plan.$in']],
    [{ $and: [{ status: 'paid' }, { missing: { deeper: 1 } }] }, ['filter.$and.1.missing.deeper']],
    [{ $or: [{ status: 'open' }, { total: 1 }], $not: { status: 'paid' } }, ['filter.$or', 'filter.$not']],
    [{ items: { sku: 'x', quantity: 5 } }, ['filter.items']],
    [{ tags: { $eq: 'a', $exists: true } }, ['filter.tags.$eq']],
  ])('of %j are %j', (filter, expected) => {
    expect(failedPaths(filter, DATA)).toEqual(expected);
  });
});

/** Nests `count` objects. */
const levels = (count: number): unknown => (count === 0 ? 1 : { a: levels(count - 1) });

describe('an invalid filter', () => {
  const invalid: readonly (readonly [filter: unknown, paths: readonly string[]])[] = [
    ['text', ['filter']],
    [null, ['filter']],
    [[{ a: 1 }], ['filter']],
    [{}, ['filter']],
    [{ a: {} }, ['filter.a']],
    [{ user: { age: { $gt: true } } }, ['filter.user.age.$gt']],
    [
      { a: { $gt: null, $gte: [1], $lt: {}, $lte: false } },
      ['filter.a.$gt', 'filter.a.$gte', 'filter.a.$lt', 'filter.a.$lte'],
    ],
    [
      { a: { $regex: 'x' }, b: { $constructor: 1 }, $where: 'x' },
      ['filter.a.$regex', 'filter.b.$constructor', 'filter.$where'],
    ],
    [{ a: { $in: [] }, b: { $nin: 'x' }, c: { $in: [{}] } }, ['filter.a.$in', 'filter.b.$nin', 'filter.c.$in']],
    [{ a: { $exists: 1 }, b: { $startsWith: 1 } }, ['filter.a.$exists', 'filter.b.$startsWith']],
    [{ $and: [], $or: {}, $not: 'x' }, ['filter.$and', 'filter.$or', 'filter.$not']],
    [{ $or: [{ a: 1 }, 'x', { b: { $x: 1 } }] }, ['filter.$or.1', 'filter.$or.2.b.$x']],
    [{ a: { b: 1, $gt: 5 } }, ['filter.a']],
    [{ a: { $eq: { $gt: 5 } }, b: [{ $exists: true }] }, ['filter.a.$eq', 'filter.b']],
    [JSON.parse('{"__proto__":{"a":1}}'), ['filter']],
    [{ a: { $eq: JSON.parse('{"__proto__":1}') as unknown } }, ['filter.a.$eq']],
    [{ a: 'b\0', '\ud800': 1 }, ['filter']],
    [{ a: 'b\0', b: { $in: ['\ud800'] }, c: { $eq: [{ d: 'x\0' }] } }, ['filter.a', 'filter.b.$in', 'filter.c.$eq']],
    [{ a: { $gt: 1e999 }, b: [-1e999] }, ['filter.a.$gt', 'filter.b']],
    [{ ['x'.repeat(257)]: 1 }, ['filter']],
    [levels(11), ['filter']],
    [{ a: { $eq: levels(9) } }, ['filter']],
    [{ a: { $in: Array.from({ length: 251 }, (_, index) => index) } }, ['filter.a.$in']],
    [{ $or: Array.from({ length: 101 }, (_, index) => ({ a: index })) }, ['filter']],
    [{ $or: Array.from({ length: 101 }, (_, index) => ({ a: { $foo: index } })) }, ['filter']],
    [{ a: 'ä'.repeat(8_189) }, ['filter']],
  ];
  it.each(invalid.map(([filter, paths]) => ({ filter, paths })))(
    'of row %# has problems at $paths',
    ({ filter, paths }) => {
      expect(validateFilter(filter).map(({ path }) => path)).toEqual(paths);
    },
  );

  it.each([
    ['10 levels', levels(10)],
    ['100 conditions', { $or: Array.from({ length: 100 }, (_, index) => ({ a: index })) }],
    ['250 entries', { a: { $in: Array.from({ length: 250 }, (_, index) => index) } }],
    ['16 KiB', { a: 'ä'.repeat(8_188) }],
    ['names of 256 characters', { ['x'.repeat(256)]: 1 }],
  ])('does not include one at the limit, of %s', (_name, filter) => {
    expect(validateFilter(filter)).toEqual([]);
  });

  it('is rejected without an exception at any depth and size', () => {
    const deep = JSON.parse(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`) as unknown;
    expect(validateFilter(deep)).toHaveLength(1);
    expect(validateFilter({ a: { $eq: new Array<number>(500_000).fill(1) } })).toHaveLength(1);
  });
});

it('a filter with too many values is rejected without reading all of them', () => {
  let reads = 0;
  const list = new Proxy(Array<number>(100_000).fill(1), {
    get: (target, name) => {
      reads += 1;
      return Reflect.get(target, name) as unknown;
    },
  });
  expect(validateFilter({ a: { $eq: list } })).toEqual([
    { path: 'filter', message: 'may have at most 16384 bytes of JSON' },
  ]);
  expect(reads).toBeLessThan(20_000);
});
