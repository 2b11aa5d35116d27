import process from 'node:process';
import { clockMs } from './clock.ts';
import { floorRequest } from './floor-request.ts';
import { keepAliveAgent, POSTS, type PostKind } from './post.ts';

/** The message of a completed loop. */
export type LoopMessage = { readonly elapsedMs: number; readonly cpuSeconds: number };

/** Unmeasured requests at the start. Until V8 has optimized the code, a request costs several times as much. */
const WARM_UP_REQUESTS = 4_000;

/** The main function of a child process: posts to the URL in its arguments as fast as it can, and reports the time. */
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
