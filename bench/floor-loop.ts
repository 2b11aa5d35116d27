import process from 'node:process';
import { clockMs } from './clock.ts';
import { floorRequest } from './floor-request.ts';
import { keepAliveAgent, POSTS, type PostKind } from './post.ts';

/** What a loop says when it is done. */
export type LoopMessage = { readonly elapsedMs: number; readonly cpuSeconds: number };

/** Until the compiler has seen everything, requests are several times as dear. */
const WARM_UP_REQUESTS = 4_000;

/** The whole of a child process: posts as fast as it goes to the address in its arguments, and says how long that took. */
async function runLoop(): Promise<void> {
  process.on('disconnect', () => process.exit(0));
  const [kind, url = '', requests, concurrency] = process.argv.slice(2);
  const post = POSTS[kind as PostKind]; // as measureLoop() calls it
  const agent = keepAliveAgent(Number(concurrency));
  const request = floorRequest();
  const send = () => post(url, request, agent);
  await repeat(send, WARM_UP_REQUESTS, Number(concurrency));
  const [startedAt, startedCpu] = [clockMs(), process.cpuUsage()];
  await repeat(send, Number(requests), Number(concurrency));
  const [elapsedMs, { user, system }] = [clockMs() - startedAt, process.cpuUsage(startedCpu)];
  process.send?.({ elapsedMs, cpuSeconds: (user + system) / 1e6 } satisfies LoopMessage);
}

async function repeat(send: () => Promise<void>, times: number, concurrency: number): Promise<void> {
  let left = times;
  async function sendInTurn(): Promise<void> {
    while (left > 0) {
      left -= 1;
      await send();
    }
  }
  await Promise.all(Array.from({ length: concurrency }, sendInTurn));
}

await runLoop();
