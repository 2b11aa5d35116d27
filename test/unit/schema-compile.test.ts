import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, describe, expect, it } from 'vitest';
import { compileSchema, findSchemaProblems, type Mismatch } from '../../src/events/catalogue/compile.ts';
import { SchemaThread } from '../../src/events/catalogue/schema-thread.ts';
import { describeMismatch } from '../../src/events/catalogue/validator.ts';
import { leastCpuMs } from '../support/cpu-time.ts';

const USER = {
  type: 'object',
  properties: {
    user: {
      type: 'object',
      properties: { age: { type: 'integer' }, email: { type: 'string', format: 'email' } },
      required: ['age'],
      additionalProperties: false,
    },
  },
  required: ['user'],
};

/** Lists all problems; asserts that they include the first problems, which the check found. */
function explain(schema: object, data: unknown): Mismatch | undefined {
  const { check, explainer } = compileSchema(schema);
  const first = check(data);
  if (first === undefined) return undefined;
  const all = explainer()(data);
  expect(all.problems).toEqual(expect.arrayContaining([...first.problems]));
  return all;
}

function problemsOf(schema: object, data: unknown) {
  return explain(schema, data)?.problems;
}

describe('data', () => {
  it('that conforms to its schema has no problems', () => {
    expect(compileSchema(USER).check({ user: { age: 3, email: 'a@b.example' }, more: 1 })).toBeUndefined();
  });

  it.each([
    [{ user: { age: 'old' } }, [{ path: 'data.user.age', message: 'must be integer' }]],
    [{}, [{ path: 'data', message: "must have required property 'user'" }]],
    [7, [{ path: 'data', message: 'must be object' }]],
    [{ user: { age: 1, email: 'nobody' } }, [{ path: 'data.user.email', message: 'must match format "email"' }]],
    [{ user: { age: 1, name: 'x' } }, [{ path: 'data.user.name', message: 'must not be there' }]],
  ])('%j has a problem with its path, and no value is quoted', (data, problems) => {
    expect(problemsOf(USER, data)).toEqual(problems);
  });

  it('with very many problems has the first 20 listed and the others counted', () => {
    const mismatch = explain(
      { items: { type: 'string' } },
      Array.from({ length: 50 }, (_, index) => index),
    );
    expect(mismatch?.problems).toHaveLength(20);
    expect(mismatch?.problems[19]).toEqual({ path: 'data.19', message: 'must be string' });
    expect(mismatch && describeMismatch(mismatch)).toBe('data.0 must be string (and 49 more)');
  });

  it('may have names that Postgres cannot store as text, and paths that are too long to show', () => {
    const [nul, long] = ['a\0b', 'x'.repeat(10_000)];
    const schema = { additionalProperties: { type: 'string' } };
    expect(problemsOf(schema, { [nul]: 1 })).toEqual([{ path: 'data.a\uFFFDb', message: 'must be string' }]);
    expect(problemsOf(schema, { [long]: 1 })?.[0]?.path).toHaveLength(256);
  });

  it('of 1,000 levels can be checked by a schema that refers to itself', () => {
    const { check } = compileSchema({ type: 'array', items: { $ref: '#' } });
    expect(check(JSON.parse(`${'['.repeat(1_000)}${']'.repeat(1_000)}`))).toBeUndefined();
    expect(check([[[1]]])?.problems).toEqual([{ path: 'data.0.0.0', message: 'must be array' }]);
  });
});

it('data with millions of problems is rejected quickly, with the first one', () => {
  const required = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const { check } = compileSchema({ type: 'array', items: { type: 'object', required } });
  const data = Array.from({ length: 350_000 }, () => ({}));
  const problems = [{ path: 'data.0', message: "must have required property 'a'" }];
  expect(check(data)).toEqual({ problems, count: 1 });
  // A list of all problems would take at least 500 ms.
  expect(leastCpuMs(() => check(data))).toBeLessThan(50);
});

describe('a schema', () => {
  const thread = new SchemaThread({ log: pino({ level: 'silent' }), metrics: new Registry() });
  afterAll(() => thread.stop());

  it.each([
    USER,
    {},
    { $schema: 'https://json-schema.org/draft/2020-12/schema', prefixItems: [{ const: 1 }], items: false },
    { $id: 'https://example.com/a', $defs: { b: { $anchor: 'b', type: 'string' } }, properties: { c: { $ref: '#b' } } },
    { $dynamicAnchor: 'n', items: { $dynamicRef: '#n' }, unevaluatedProperties: false },
    { type: ['string', 'null'], pattern: '^(?!x)\\p{L}+$', examples: ['y'], deprecated: true, title: 'Letters' },
    { properties: { at: { format: 'date-time' } }, if: { required: ['at'] }, then: { minProperties: 2 } },
  ])('such as %j can be saved', async (schema) => {
    expect(await findSchemaProblems(thread, schema)).toEqual([]);
  });

  it('may have the same $id as another schema', () => {
    const of = (type: string) => compileSchema({ $id: 'https://example.com/same', type }).check;
    const [text, number] = [of('string'), of('number')];
    expect([text('a'), number(1)]).toEqual([undefined, undefined]);
    expect([text(1)?.count, number('a')?.count]).toEqual([1, 1]);
  });

  it.each([
    ['schema', 'must be a JSON object', true],
    ['schema', 'must be a JSON object', []],
    ['schema.properties.a.type', 'must be equal to one of the allowed values', { properties: { a: { type: 'int' } } }],
    ['schema.required', 'must be array', { required: 'a' }],
    ['schema', 'unknown keyword: "requird"', { requird: ['a'] }],
    ['schema', 'unknown format "phone"', { format: 'phone' }],
    ['schema', 'Invalid regular expression', { pattern: '(' }],
    ['schema', "can't resolve reference https://example.com/other", { $ref: 'https://example.com/other' }],
    ['schema', "can't resolve reference #/$defs/none", { $ref: '#/$defs/none' }],
    ['schema', 'no schema with key or ref', { $schema: 'http://json-schema.org/draft-07/schema#' }],
    ['schema.$async', 'is not known', { $async: true }],
    ['schema', 'at most 65536 are accepted', { description: 'x'.repeat(65_536) }],
    ['schema', 'is nested deeper than 64 levels', JSON.parse(`${'{"not":'.repeat(65)}{}${'}'.repeat(65)}`)],
  ])('is rejected at %s: %s', async (path, message, schema: unknown) => {
    const [problem] = await findSchemaProblems(thread, schema);
    expect(problem?.path).toBe(path);
    expect(problem?.message).toContain(message);
  });

  it('with too many references is rejected without exhausting memory or time', async () => {
    const twice = (index: number) => ({ allOf: [{ $ref: `#/$defs/a${index}` }, { $ref: `#/$defs/a${index}` }] });
    const $defs = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`a${index}`, twice(index + 1)]));
    const schema = { $ref: '#/$defs/a0', $defs: { ...$defs, a500: {} } };
    expect(await findSchemaProblems(thread, schema)).toEqual([{ path: 'schema', message: 'is too complicated' }]);
  });

  it('that is nested too deeply to serialize is rejected', async () => {
    const root: Record<string, unknown> = {};
    let inner = root;
    for (let level = 0; level < 100_000; level += 1) inner = inner['not'] = {} as Record<string, unknown>;
    expect(await findSchemaProblems(thread, root)).toEqual([{ path: 'schema', message: 'is too complicated' }]);
  });
});
