import { setTimeout as delay } from 'node:timers/promises';
import { createBullmqDatabase } from './bullmq-database.ts';
import type { Done } from './bullmq-job.ts';
import { type BullmqPublisher, connectBullmqPublisher, makeDelivery, makeEvent } from './bullmq-publisher.ts';
import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import type { Context, Outcome } from './measurement.ts';
import { readUsages } from './processes.ts';
import type { ReceiverMessage } from './receiver.ts';
import { type RedisServer, startRedisIfPossible } from './redis.ts';
import type { Stack } from './stack.ts';
import { measureFor, publishFor, startHealthyEndpoints, urlsOf } from './start-traffic.ts';
import { cellsOf, Traffic, type TrafficSummary } from './traffic.ts';

const HEALTHY = 50;
const SICK = ['hanging', 'failing'];
const PER_SECOND = 100;
const LATENCY_PER_SECOND = 200;
const FULL = { seconds: 20, waiting: 1_000_000, backlog: 10_000 };
const MIN_SECONDS = 4;
const WARM_UP_MS = 3_000;
const ADDED_AT_ONCE = 1_000;
const BACKLOG_AT_ONCE = 50;
const HOUR_MS = 3_600_000;
/** An order that never completes: the worker delivers until its process stops. */
const ENDLESS = { count: Number.MAX_SAFE_INTEGER };

type Team = { readonly publisher: BullmqPublisher; readonly traffic: Traffic; readonly sickIds: readonly string[] };

/** The conditions of `latency`, `waiting` and `isolation`, for the BullMQ team's publisher and worker. */
export async function measureBullmqConditions({ report, size, startStack }: Context): Promise<Outcome> {
  const stack = await startStack();
  const redis = await startRedisIfPossible(stack, report);
  if (redis === undefined) return { tables: [], figures: {}, targets: [] };
  const team = await startTeam(stack, redis);
  const { publisher, traffic } = team;
  const ms = 1_000 * Math.max(MIN_SECONDS, size(FULL.seconds));
  await publishFor(traffic, WARM_UP_MS);
  report(`BullMQ with ${LATENCY_PER_SECOND} and ${PER_SECOND} events a second`);
  const latency = await measureFor(traffic, ms, LATENCY_PER_SECOND);
  const alone = await measureFor(traffic, ms);
  const waiting = size(FULL.waiting);
  const before = await memoryOfRedis();
  report(`BullMQ beside ${waiting} jobs that wait`);
  await addWaiting(publisher, waiting);
  await publishFor(traffic, WARM_UP_MS);
  const besideWaiting = await measureFor(traffic, ms);
  const memory = { alone: before, beside: await memoryOfRedis() };
  const backlog = size(FULL.backlog);
  report(`BullMQ beside a backlog of ${backlog} for each of ${SICK.length} sick endpoints`);
  const besideSick = await measureBesideSick(team, { backlog, ms });
  const ratio = { waiting: besideWaiting.p95 / alone.p95, sick: besideSick.p95 / alone.p95 };
  return {
    tables: [
      [
        rowOf(`${LATENCY_PER_SECOND} a second`, latency),
        rowOf(`${PER_SECOND} a second, alone`, alone),
        rowOf(`… beside ${waiting} that wait`, besideWaiting),
        rowOf(`… beside sick endpoints`, besideSick),
      ],
    ],
    notes: [
      `p95 beside those that wait: ${ratio.waiting.toFixed(2)} ×; redis-server ${memory.alone.toFixed(0)} → ${memory.beside.toFixed(0)} MiB`,
      `p95 beside sick endpoints: ${besideSick.missing > 0 ? '≥ ' : ''}${ratio.sick.toFixed(2)} ×`,
    ],
    figures: { latency, alone, besideWaiting, besideSick, waiting, backlog, memory, ratio },
    targets: [],
  };
}

async function startTeam(stack: Stack, redis: RedisServer): Promise<Team> {
  const { urls, reportTo } = await startHealthyEndpoints(stack, HEALTHY);
  const sickUrls = await urlsOf(startChild<ReceiverMessage>(stack, 'receiver.ts', SICK).first);
  const { databaseUrl, subscriptionIds } = await createBullmqDatabase({
    serverUrl: stack.databaseUrl,
    urls: [...urls, ...sickUrls],
  });
  const [healthyIds, sickIds] = [subscriptionIds.slice(0, HEALTHY), subscriptionIds.slice(HEALTHY)];
  const place = { databaseUrl, redisUrl: redis.url };
  const worker = startChild<Done>(stack, 'bullmq-worker.ts');
  worker.send(place);
  worker.send(ENDLESS);
  const publisher = await connectBullmqPublisher(place);
  stack.onStop(publisher.stop);
  const publish = (number: number) =>
    publisher.publish({ eventIds: [String(number)], subscriptionIds: [healthyIds[number % HEALTHY] ?? ''] });
  return { publisher, sickIds, traffic: reportTo(new Traffic(publish, { perSecond: PER_SECOND })) };
}

/** Adds jobs whose next attempt is due in one to nine hours. They have no rows in Postgres; only Redis holds them. */
async function addWaiting({ queue, subscriptionIds: [subscriptionId = ''] }: BullmqPublisher, count: number) {
  for (let done = 0; done < count; done += ADDED_AT_ONCE) {
    const jobs = Array.from({ length: Math.min(ADDED_AT_ONCE, count - done) }, (_, index) => {
      const { job } = makeDelivery(makeEvent('waiting', index), subscriptionId);
      return {
        name: 'deliver',
        data: job,
        opts: { jobId: job.deliveryId, delay: HOUR_MS * (1 + 8 * Math.random()) },
      };
    });
    await queue.addBulk(jobs);
  }
}

/** Measures the healthy endpoints' events from when the sick endpoints' backlog is complete. */
async function measureBesideSick(
  { publisher, traffic, sickIds }: Team,
  { backlog, ms }: { readonly backlog: number; readonly ms: number },
): Promise<TrafficSummary> {
  let isOver = false;
  const makeBacklog = async () => {
    for (let done = 0; done < backlog; done += BACKLOG_AT_ONCE) {
      const eventIds = Array.from({ length: BACKLOG_AT_ONCE }, (_, index) => `sick-${done + index}`);
      await publisher.publish({ eventIds, subscriptionIds: sickIds });
    }
    const from = clockMs();
    await delay(ms);
    isOver = true;
    return from;
  };
  const [from] = await Promise.all([makeBacklog(), traffic.publishUntil(() => isOver)]);
  return traffic.settled(from, clockMs());
}

async function memoryOfRedis(): Promise<number> {
  return (await readUsages())['redis-server']?.memoryMiB ?? 0;
}

function rowOf(name: string, summary: TrafficSummary): Record<string, string> {
  return { 'BullMQ, publish to arrival': name, ...cellsOf(summary) };
}
