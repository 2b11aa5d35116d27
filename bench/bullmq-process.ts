import process from 'node:process';
import type { Done, Order, Place } from './bullmq-job.ts';
import { clockMs } from './clock.ts';

/** What a process does with an order: everything, and resolves when it has been committed. */
export type Work = (count: number) => Promise<void>;

/** The whole of a child process: starts as soon as it knows where everything is, and does what it is told. */
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
