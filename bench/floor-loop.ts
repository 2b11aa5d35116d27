import { Agent } from 'node:http';
import process from 'node:process';
import { clockMs } from './clock.ts';
import { type FloorRequest, floorRequest } from './floor-request.ts';

/** Sends one request, and resolves when its response has been read; rejects unless that is a 2xx. */
export type Post = (url: string, request: FloorRequest, agent: Agent) => Promise<void>;

/** What a loop says when it is done. */
export type LoopMessage = { readonly elapsedMs: number; readonly cpuSeconds: number };

/** Until the compiler has seen everything, requests are several times as dear. */
const WARM_UP_REQUESTS = 4_000;
/** 1,000 is more than there ever are; all of them are kept. */
const AGENT_OPTIONS = { keepAlive: true, maxSockets: 1_000, timeout: 30_000 };

/** The whole of a child process: posts as fast as it goes to the address in its arguments, and says how long that took. */
export async function runLoop(post: Post): Promise<void> {
  process.on('disconnect', () => process.exit(0));
  const [url = '', requests, concurrency] = process.argv.slice(2);
  const agent = new Agent({ ...AGENT_OPTIONS, maxFreeSockets: Number(concurrency) });
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
