import { pino } from 'pino';
import { expect, test } from 'vitest';
import { FailureLog } from '../../src/lib/failure-log.ts';
import { Loop } from '../../src/lib/loop.ts';
import { waitFor } from '../support/wait-for.ts';

class FailingLoop extends Loop {
  rounds = 0;

  protected round(): Promise<number> {
    this.rounds += 1;
    if (this.rounds === 5) return Promise.resolve(1);
    return Promise.reject(new Error(this.rounds === 1 ? 'expected' : 'a bug'));
  }
}

test('a loop logs an expected failure as debug, another one once until a round succeeds, and continues until it is stopped', async () => {
  const lines: { level: number; msg: string; err?: { message: string } }[] = [];
  // `as`: pino writes lines with these fields.
  const write = (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]);
  const log = pino({ level: 'debug' }, { write });
  const levelOf = (error: unknown) => (error instanceof Error && error.message === 'expected' ? 'debug' : 'error');
  const loop = new FailingLoop({ log, work: 'sweep', retryMs: 1, levelOf });
  loop.start();
  await waitFor(() => loop.rounds >= 8, { what: 'the eighth round' });
  await loop.stop();
  const { rounds } = loop;
  expect(lines.map(({ level, msg, err }) => [level, msg, err?.message])).toEqual([
    [20, 'sweep failed; retrying', 'expected'],
    [50, 'sweep failed; retrying', 'a bug'],
    [30, 'sweep works again', undefined],
    [50, 'sweep failed; retrying', 'a bug'],
  ]);
  await Promise.resolve();
  expect(loop.rounds).toBe(rounds);
});

test('the first round can be delayed, and a stop does not wait for it', async () => {
  const options = { log: pino({ level: 'silent' }), work: 'sweep', retryMs: 60_000, levelOf: () => 'debug' as const };
  const stopped = new FailingLoop({ ...options, firstInMs: 3_600_000 });
  stopped.start();
  await stopped.stop();
  expect(stopped.rounds).toBe(0);
  const loop = new FailingLoop({ ...options, firstInMs: 50 });
  const startedAt = performance.now();
  loop.start();
  await waitFor(() => loop.rounds > 0, { what: 'the first round' });
  // Timers may fire a millisecond early.
  expect(performance.now() - startedAt).toBeGreaterThan(48);
  await loop.stop();
});

test('the same error is logged once a minute, and another one at once', () => {
  const texts: string[] = [];
  let nowMs = 0;
  // `as`: pino writes lines with this field.
  const write = (line: string) => void texts.push((JSON.parse(line) as { err: { message: string } }).err.message);
  const failures = new FailureLog(pino({}, { write }), { work: 'listening', levelOf: () => 'error', now: () => nowMs });
  const refused = () => Object.assign(new Error(`refused at ${nowMs}`), { code: '28P01' });
  for (; nowMs <= 60_000; nowMs += 1_000) failures.failed(refused());
  failures.failed(new Error('other'));
  expect(texts).toEqual(['refused at 0', 'refused at 60000', 'other']);
});
