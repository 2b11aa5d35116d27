import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { problemsOfSettings, SENT_COLUMNS, SETTING_ROWS } from '../../src/subscriptions/settings.ts';

/** The fields of the model WebhookSubscription, by name, as lines of Prisma's schema. */
async function modelFields(): Promise<ReadonlyMap<string, string>> {
  const text = await readFile(new URL('../../prisma/schema.prisma', import.meta.url), 'utf8');
  const [, model = ''] = /^model WebhookSubscription \{\n(.*?)^\}/ms.exec(text) ?? [];
  return new Map([...model.matchAll(/^ {2}(\w+) .*$/gm)].map(([line, name = '']) => [name, line]));
}

test('every setting has the column and the default of its field in the Prisma schema', async () => {
  const fields = await modelFields();
  for (const [name, { column, default: value, isRequired }] of SETTING_ROWS) {
    if (column === undefined) continue;
    const line = fields.get(name) ?? '';
    const [, mapped = name] = /@map\("(\w+)"\)/.exec(line) ?? [];
    const [, given] = /@default\((.*?)\)/.exec(line) ?? [];
    expect([name, mapped]).toEqual([name, column]);
    expect([name, given]).toEqual([name, isRequired || value === null ? undefined : JSON.stringify(value)]);
    expect([name, /^ *\w+ +\w+\?/.test(line)]).toEqual([name, value === null]);
  }
});

test('senders read the columns that they use', () => {
  expect(SENT_COLUMNS).toBe(
    's.url AS "url", s.timeout_ms AS "timeoutMs", s.max_in_flight AS "maxInFlight", s.rate_limit_per_second AS "rateLimitPerSecond"',
  );
});

test.each(SETTING_ROWS.filter(([, { range }]) => range !== undefined))('%s must be in its range', (name, { range }) => {
  const [min, max] = range ?? [0, 0];
  for (const value of [min, max, null]) expect(problemsOfSettings({ [name]: value })).toEqual([]);
  const problems = [{ path: name, message: `must be from ${min} to ${max}` }];
  for (const value of [min - 1, max + 1]) expect(problemsOfSettings({ [name]: value })).toEqual(problems);
});
