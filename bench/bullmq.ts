import pg from 'pg';
import { countRows, createBullmqDatabase, type RowCounts } from './bullmq-database.ts';
import type { Done, Order } from './bullmq-job.ts';
import { type Child, startChild } from './child.ts';
import { cpuBetween, readUsages } from './processes.ts';
import { readReceiverCounts } from './receiver-counts.ts';
import type { RedisServer } from './redis.ts';
import type { Stack } from './stack.ts';

export type BullmqOptions = {
  /** Any database of the Postgres server that the program uses. */
  readonly databaseUrl: string;
  readonly redis: RedisServer;
  readonly receiverUrl: string;
  readonly events: number;
  /** Subscriptions for each event. */
  readonly fanOut: number;
};

export type BullmqFigures = {
  /** Deliveries a second, from the first publish until the last attempt is committed. */
  readonly perSecond: number;
  readonly cpuSecondsPer1000ByProcess: Readonly<Record<string, number>>;
  readonly rows: RowCounts;
  /** Connections to the receiver. */
  readonly connections: number;
};

const WARM_UP_DELIVERIES = 2_000;
const MAX_MS = 300_000;

/** Measures webhooks built on BullMQ: one process publishes, one delivers, and both write the log to Postgres. */
export async function measureBullmq(
  stack: Pick<Stack, 'onStop'>,
  { databaseUrl: serverUrl, redis, receiverUrl, events, fanOut }: BullmqOptions,
): Promise<BullmqFigures> {
  const { databaseUrl } = await createBullmqDatabase({ serverUrl, urls: Array<string>(fanOut).fill(receiverUrl) });
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  // Postgres may stop while the pool is connected.
  pool.on('error', () => undefined);
  const producer = startChild<Done>(stack, 'bullmq-producer.ts');
  const worker = startChild<Done>(stack, 'bullmq-worker.ts');
  for (const child of [producer, worker]) child.send({ databaseUrl, redisUrl: redis.url });
  const deliver = async (count: number) => {
    // The worker gets its order first, because it counts deliveries from then on.
    const delivered = answerOf(worker, { count: count * fanOut });
    return { produced: await answerOf(producer, { count }), delivered: await delivered };
  };
  const read = async () => ({
    rows: await countRows(pool),
    receiver: await readReceiverCounts(receiverUrl),
    usages: await readUsages(),
  });
  const { connections } = await readReceiverCounts(receiverUrl);
  await deliver(Math.ceil(WARM_UP_DELIVERIES / fanOut));
  const before = await read();
  const { produced, delivered } = await deliver(events);
  const after = await read();
  await Promise.all([producer.stop(), worker.stop(), pool.end()]);
  const deliveries = events * fanOut;
  const rows = {
    events: after.rows.events - before.rows.events,
    deliveries: after.rows.deliveries - before.rows.deliveries,
    attempts: after.rows.attempts - before.rows.attempts,
  };
  const requests = after.receiver.requests - before.receiver.requests;
  const expected = { events, deliveries, attempts: deliveries, requests: deliveries };
  if (JSON.stringify({ ...rows, requests }) !== JSON.stringify(expected)) {
    throw new Error(`expected ${JSON.stringify(expected)}, but there are ${JSON.stringify({ ...rows, requests })}`);
  }
  const cpuSeconds = cpuBetween(before.usages, after.usages);
  const per1000 = Object.entries(cpuSeconds).map(([name, seconds]) => [name, (1_000 * seconds) / deliveries] as const);
  return {
    perSecond: (1_000 * deliveries) / (delivered.to - produced.from),
    cpuSecondsPer1000ByProcess: Object.fromEntries(per1000),
    rows,
    connections: after.receiver.connections - connections,
  };
}

/** Sends the order and returns the process's next message. */
function answerOf(child: Child<Done>, order: Order): Promise<Done> {
  const timeout = AbortSignal.timeout(MAX_MS);
  return new Promise((resolve, reject) => {
    child.onMessage(resolve);
    timeout.addEventListener('abort', () => {
      reject(new Error(`BullMQ did not complete its orders within ${MAX_MS} ms`));
    });
    child.send(order);
  });
}
