import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Loop } from '../../src/lib/loop.ts';
import { waitFor } from '../support/wait-for.ts';

class FailingLoop extends Loop {
  rounds = 0;

  protected round(): Promise<number> {
    this.rounds += 1;
    return Promise.reject(new Error(this.rounds === 1 ? 'expected' : 'a bug'));
  }
}

test('a loop logs a failed round, logs an expected failure as debug, and continues until it is stopped', async () => {
  const lines: { level: number; msg: string; err: { message: string } }[] = [];
  // `as`: pino writes lines with these fields.
  const write = (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]);
  const log = pino({ level: 'debug' }, { write });
  const levelOf = (error: unknown) => (error instanceof Error && error.message === 'expected' ? 'debug' : 'error');
  const loop = new FailingLoop({ log, work: 'sweep', retryMs: 1, levelOf });
  loop.start();
  await waitFor(() => loop.rounds >= 3, { what: 'the third round' });
  await loop.stop();
  const { rounds } = loop;
  expect(lines.map(({ level, msg }) => [level, msg]).slice(0, 2)).toEqual([
    [20, 'sweep failed; retrying'],
    [50, 'sweep failed; retrying'],
  ]);
  expect(lines.map(({ err }) => err.message).slice(0, 2)).toEqual(['expected', 'a bug']);
  expect([loop.rounds, lines.length]).toEqual([rounds, rounds]);
});
