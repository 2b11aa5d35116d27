import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { natsNames } from '../../src/nats/names.ts';
import { requiredSetup } from '../../src/nats/streams.ts';

const SRC = join(import.meta.dirname, '../../src');
const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.startsWith('generated'))
  .map((name) => [name, readFileSync(join(SRC, name), 'utf8')] as const);

/** Features with errors in servers or clients that are in use: see docs/nats-server.md. */
it.each([
  [
    'a purge by subject, which before 2.10.11 makes a consumer skip messages of other subjects',
    /\.purge(Stream)?\((?!names\.stream, \{ seq: end \}\))/,
  ],
  ['a reason for term(), which before 2.10.4 is ignored with the term', /\.term\([^)]/],
  ['a consumer with a filter, which 2.9 may not find messages for', /filter_subjects?:/],
])('the program never uses %s', (_, pattern) => {
  expect(sources.length).toBeGreaterThan(100);
  expect(sources.filter(([, text]) => pattern.test(text)).map(([name]) => name)).toEqual([]);
});

it('streams and consumers only have settings that nats-server 2.9 knows, because it ignores others silently', () => {
  const known = {
    stream: [
      'discard',
      'duplicate_window',
      'max_age',
      'max_bytes',
      'name',
      'num_replicas',
      'retention',
      'storage',
      'subjects',
    ],
    consumer: ['ack_policy', 'ack_wait', 'deliver_policy', 'durable_name', 'max_ack_pending', 'max_deliver'],
  };
  const { streams, consumers } = requiredSetup(natsNames());
  for (const stream of streams) expect(known.stream).toEqual(expect.arrayContaining(Object.keys(stream)));
  for (const { config } of Object.values(consumers)) {
    expect(known.consumer).toEqual(expect.arrayContaining(Object.keys(config)));
  }
});
