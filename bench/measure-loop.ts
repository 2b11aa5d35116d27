import { startChild } from './child.ts';
import type { LoopMessage } from './floor-loop.ts';
import type { PostKind } from './post.ts';
import { readReceiverCounts } from './receiver-counts.ts';
import type { Stack } from './stack.ts';

export type LoopOptions = {
  readonly kind: PostKind;
  /** An endpoint that answers immediately. */
  readonly url: string;
  readonly requests: number;
  /** Requests in flight. */
  readonly concurrency: number;
};

export type LoopFigures = {
  readonly perSecond: number;
  /** CPU seconds of the sending process for 1,000 requests. */
  readonly cpuSecondsPer1000: number;
  readonly connections: number;
};

/** Sends bare requests as fast as one process can: an upper bound for webhooks sent with the same client. */
export async function measureLoop(
  stack: Pick<Stack, 'onStop'>,
  { kind, url, requests, concurrency }: LoopOptions,
): Promise<LoopFigures> {
  const before = await readReceiverCounts(url);
  const child = startChild<LoopMessage>(stack, 'floor-loop.ts', [kind, url, String(requests), String(concurrency)]);
  const { elapsedMs, cpuSeconds } = await child.first;
  await child.stop();
  const after = await readReceiverCounts(url);
  if (after.requests - before.requests < requests) throw new Error(`not all requests of ${kind} have arrived`);
  return {
    perSecond: (1_000 * requests) / elapsedMs,
    cpuSecondsPer1000: (1_000 * cpuSeconds) / requests,
    connections: after.connections - before.connections,
  };
}
