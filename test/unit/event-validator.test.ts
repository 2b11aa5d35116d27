import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, onTestFinished, test, vi } from 'vitest';
import { SchemaThread } from '../../src/events/catalogue/schema-thread.ts';
import { EventValidator } from '../../src/events/catalogue/validator.ts';
import type { Queryable } from '../../src/postgres/client.ts';

// Starting a thread takes seconds on a busy machine.
vi.setConfig({ testTimeout: 30_000 });

const PROPERTIES = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`p${index}`, { type: 'string' }]));

/** Contains every event type, each with a schema that takes far longer than a millisecond to compile. */
const CATALOGUE = {
  query: (_text: string, [[name], [version]]: [readonly string[], readonly number[]]) => {
    const row = { name, version: '1', schema: { title: name, properties: PROPERTIES, required: ['p0'] } };
    return Promise.resolve({ rows: version === 0 ? [row] : [] });
  },
} as unknown as Queryable;

test('a type whose schema could not be compiled in time is validated again after a minute', async () => {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const thread = new SchemaThread({ log, metrics: new Registry() });
  onTestFinished(() => thread.stop());
  const validator = new EventValidator(thread, log);
  const countMismatches = async (type: string) => {
    const event = { id: 'e', type, data: Buffer.from('{}') };
    return (await validator.validate(CATALOGUE, [event], { isCurrent: true })).mismatches.size;
  };
  const check = thread.check.bind(thread);
  const spy = vi.spyOn(thread, 'check').mockImplementation((request) => check({ ...request, compileMs: 1 }));
  let types = 1;
  // On a busy machine, a compilation can end before the limit interrupts it.
  while ((await countMismatches(`type.${types}`)) > 0 && types < 20) types += 1;
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain('data of the event type is not validated for a minute');
  spy.mockRestore();
  expect(await countMismatches(`type.${types}`)).toBe(0);
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 61_000);
  onTestFinished(() => {
    clock.mockRestore();
  });
  // The cache reads the clock once a millisecond.
  await expect.poll(() => countMismatches(`type.${types}`)).toBe(1);
});
