import type { Report } from '../src/embedded/report.ts';
import { measureBullmq } from './bullmq.ts';
import { startChild } from './child.ts';
import { measureLoop } from './measure-loop.ts';
import type { ReceiverMessage } from './receiver.ts';
import { startRedisIfPossible } from './redis.ts';
import type { Stack } from './stack.ts';
import { urlsOf } from './start-traffic.ts';

export type FloorFigures = {
  readonly name: string;
  readonly perSecond: number;
  /** CPU seconds for 1,000 deliveries or requests, by process. */
  readonly cpuSecondsPer1000: Readonly<Record<string, number>>;
  /** Connections to the receiver. */
  readonly connections: number;
};

/** Requests in flight. Enough to keep the CPU busy. */
const CONCURRENCY = 64;
const FAN_OUTS = [1, 10];

/** Measures bare requests and BullMQ, for comparison with the other figures of the same run. */
export async function measureFloors(
  stack: Stack,
  { events, report }: { readonly events: number; readonly report: Report },
): Promise<FloorFigures[]> {
  const receiver = startChild<ReceiverMessage>(stack, 'receiver.ts', ['accepting']);
  const [url = ''] = await urlsOf(receiver.first);
  const figures: FloorFigures[] = [];
  for (const [kind, name] of [
    ['http', 'node:http'],
    ['got', 'got'],
  ] as const) {
    report(`${events} requests with ${name}`);
    const loop = await measureLoop(stack, { kind, url, requests: events, concurrency: CONCURRENCY });
    figures.push({ ...loop, name, cpuSecondsPer1000: { sender: loop.cpuSecondsPer1000 } });
  }
  const redis = await startRedisIfPossible(stack, report);
  for (const fanOut of FAN_OUTS) {
    if (redis === undefined) break;
    report(`${events} deliveries with BullMQ, ${fanOut} for each event`);
    const counts = { events: Math.ceil(events / fanOut), fanOut };
    const bullmq = await measureBullmq(stack, { ...stack, redis, receiverUrl: url, ...counts });
    figures.push({
      ...bullmq,
      name: `BullMQ, fan-out ${fanOut}`,
      cpuSecondsPer1000: bullmq.cpuSecondsPer1000ByProcess,
    });
  }
  await receiver.stop();
  return figures;
}

/** Rows of a table for the terminal. */
export function floorRows(figures: readonly FloorFigures[]): Record<string, string>[] {
  return figures.map(({ name, perSecond, cpuSecondsPer1000, connections }) => ({
    '': name,
    'per second': perSecond.toFixed(0),
    connections: String(connections),
    'CPU seconds per 1,000': Object.entries(cpuSecondsPer1000)
      .map(([process, seconds]) => `${process} ${seconds.toFixed(3)}`)
      .join(', '),
  }));
}
