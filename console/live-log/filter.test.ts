import { expect, test } from 'vitest';
import { completions, parseFilter, toggleTerm } from './filter.ts';

const NOW = Date.parse('2026-01-31T12:00:00.000Z');
const parse = (text: string) => parseFilter(text, NOW);
const SUBSCRIPTION = '0193a1b2-0000-7000-8000-000000000001';

test('terms of one key are alternatives, and each key becomes a field of the filter', () => {
  const { filter, words, problems } = parse(
    `status:failure code:5xx code:429 code:301-303 type:order.* type:user.created reason:timeout sub:${SUBSCRIPTION} tenant:acme since:1h`,
  );
  expect(problems).toEqual([]);
  expect(words).toEqual([]);
  expect(filter).toEqual({
    tenant: 'acme',
    statuses: ['FAILURE'],
    statusCodes: [
      { from: 500, to: 599 },
      { from: 429, to: 429 },
      { from: 301, to: 303 },
    ],
    failureReasons: ['TIMEOUT'],
    eventTypes: ['order.*', 'user.created'],
    subscriptionIds: [SUBSCRIPTION],
    from: '2026-01-31T11:00:00.000Z',
  });
});

test('words without a key are searched for, also addresses with a colon', () => {
  const { words, filter, problems } = parse('Example.com http://10.0.0.1:80 "two words" 12:30');
  expect(words).toEqual(['example.com', 'http://10.0.0.1:80', 'two words', '12:30']);
  expect([filter, problems]).toEqual([{}, []]);
});

test('every misspelled term is a problem, and the others still filter', () => {
  const { filter, problems } = parse(
    'satus:failure status:maybe code:999 code:504-500 since:soon sub:1 reason:x type: status:ok',
  );
  expect(problems).toHaveLength(8);
  expect(filter).toEqual({ statuses: ['SUCCESS'] });
});

test('a time is a span before now or in ISO 8601', () => {
  expect(parse('since:2d until:2026-01-31T10:00Z').filter).toEqual({
    from: '2026-01-29T12:00:00.000Z',
    to: '2026-01-31T10:00:00.000Z',
  });
  expect(parse('since:2026-13-01').problems).toHaveLength(1);
});

test('a response time from a second on is selected by the server, a shorter one by the page', () => {
  expect(parse('slow:2s attempt:2 attempt:3')).toMatchObject({
    filter: { minResponseTimeMs: 2_000, attemptNumbers: [2, 3] },
    minResponseTimeMs: 2_000,
  });
  expect(parse('slow:1.5s slow:500ms')).toMatchObject({ filter: {}, minResponseTimeMs: 500 });
  expect(parse('slow:40').minResponseTimeMs).toBe(40);
  const isPartlyLocal = ['slow:40', 'a.word', 'slow:1s code:5xx', ''].map((text) => parse(text).isPartlyLocal);
  expect(isPartlyLocal).toEqual([true, true, false, false]);
  expect(parse('code:500').minResponseTimeMs).toBe(0);
  expect(parse('slow:fast slow:2h slow: attempt:0 attempt:1.5')).toMatchObject({ filter: {}, minResponseTimeMs: 0 });
  expect(parse('slow:fast slow:2h slow: attempt:0 attempt:1.5').problems).toHaveLength(5);
});

test('a term is added once, and removed when it is there', () => {
  expect(toggleTerm('', 'type', 'order.paid')).toBe('type:order.paid');
  expect(toggleTerm('code:5xx  type:order.paid since:1h', 'type', 'order.paid')).toBe('code:5xx since:1h');
  expect(toggleTerm('code:5xx', 'tenant', 'a b')).toBe('code:5xx tenant:"a b"');
  expect(parse('tenant:"a b"').filter).toEqual({ tenant: 'a b' });
});

test('completion offers keys, then values, fixed ones and those of the rows', () => {
  const labels = (text: string) =>
    completions(text, text.length, {
      values: { type: ['order.paid', 'user.created'], sub: ['01a', '01b', '02c'] },
      urls: new Map([
        ['01a', 'https://crm.example.com/hooks'],
        ['01b', 'https://shop.example.com/hooks'],
      ]),
    }).map(({ label, url }) => (url === undefined ? label : `${label} ${url}`));
  expect(labels('s')).toEqual(['status:', 'sub:', 'slow:', 'since:']);
  expect(labels('slow:5')).toEqual(['slow:500ms', 'slow:5s']);
  expect(labels('code:5xx status:')).toEqual(['status:success', 'status:failure']);
  expect(labels('type:ord')).toEqual(['type:order.paid']);
  expect(labels('since:1h')).toEqual([]);
  expect(labels('sub:CRM')).toEqual(['sub:01a https://crm.example.com/hooks']);
  expect(labels('sub:01')).toEqual(['sub:01a https://crm.example.com/hooks', 'sub:01b https://shop.example.com/hooks']);
  expect(labels('sub:02')).toEqual(['sub:02c']);
  expect(completions('status:f since:1h', 8, { values: {}, urls: new Map() })).toEqual([
    { label: 'status:failure', text: 'status:failure since:1h', caret: 15 },
  ]);
});

test('hostile text is only text', () => {
  const text = `${'type:'.repeat(5_000)} <img src=x onerror=alert(1)> "`;
  expect(parse(text).problems).toEqual([]);
  expect(parse('a'.repeat(100_000)).words).toHaveLength(1);
});
