import process from 'node:process';
import type { Done, Order, Place } from './bullmq-job.ts';
import { clockMs } from './clock.ts';

/** Carries out an order and resolves when all of it is committed. */
export type Work = (count: number) => Promise<void>;

/** The main function of a child process: starts on the first message, a Place, then carries out each Order. */
export function obey(start: (place: Place) => Promise<Work>): void {
  let work: Promise<Work> | undefined;
  process.on('disconnect', () => process.exit(0));
  process.on('message', (message: Place | Order) => {
    if ('count' in message) void work?.then((carryOut) => measure(carryOut, message.count));
    else work = start(message);
  });
}

async function measure(work: Work, count: number): Promise<void> {
  const from = clockMs();
  await work(count);
  process.send?.({ from, to: clockMs() } satisfies Done);
}
