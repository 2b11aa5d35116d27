import { setTimeout as delay } from 'node:timers/promises';
import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import type { FloodMessage, FloodOrder } from './flood.ts';
import { insertSubscriptions, subjectsOf } from './many-subscriptions.ts';
import type { Context, Outcome } from './measurement.ts';
import { isCalm, isDispatched } from './progress.ts';
import type { ReceiverMessage } from './receiver.ts';
import type { Stack } from './stack.ts';
import { measureFor, publishFor, startTraffic, urlsOf } from './start-traffic.ts';
import { cellsOf } from './traffic.ts';
import { waitUntil } from './wait-until.ts';

/** Events of the loud tenant. Each is for all of its subscriptions. */
const EVENTS = 200;
const LOUD = { types: 1, fanOut: 1_000 };
const LOUD_ENDPOINTS = 100;
/** Events a second of the quiet tenant, for its only subscription. */
const PER_SECOND = 4;
const ALONE_MS = 15_000;
const WARM_UP_MS = 3_000;
const MAX_MS = 900_000;
/** Number of measurements of the time to dispatch one loud event without other load. The shortest counts. */
const SINGLE_EVENTS = 3;

/** Measures the latency of a quiet tenant's events, alone and beside a tenant whose events have 1,000 subscriptions. */
export async function measureTenants(context: Context): Promise<Outcome> {
  const { report, size } = context;
  const events = size(EVENTS);
  const receiver = startChild<ReceiverMessage>(context, 'receiver.ts', Array<string>(LOUD_ENDPOINTS).fill('accepting'));
  const urls = await urlsOf(receiver.first);
  let received = 0;
  receiver.onMessage((message) => {
    if ('accepted' in message) received = message.accepted;
  });
  const stack = await context.startStack({ prepare: (database) => insertSubscriptions(database, { ...LOUD, urls }) });
  const traffic = await startTraffic(stack, { tenant: 'quiet', subscriptions: 1, perSecond: PER_SECOND });
  await publishFor(traffic, WARM_UP_MS);
  const batches: number[] = [];
  for (let count = 0; count < SINGLE_EVENTS; count += 1) {
    batches.push(await dispatchTime(stack));
    await waitUntil(() => isCalm(stack), MAX_MS);
  }
  const batchMs = Math.min(...batches);
  report('the quiet tenant alone');
  const alone = await measureFor(traffic, ALONE_MS);
  report(`beside ${events} events for ${LOUD.fanOut} subscriptions of another tenant`);
  const before = received;
  const from = clockMs();
  let isOver = false;
  const [, seconds] = await Promise.all([
    traffic.publishUntil(() => isOver),
    publishLoud(stack, events).finally(() => {
      isOver = true;
    }),
  ]);
  const beside = await traffic.settled(from, clockMs());
  await delay(500);
  const requests = received - before;
  const perSecond = (events * LOUD.fanOut) / seconds;
  const limitMs = 2 * alone.p95 + batchMs;
  return {
    tables: [
      [
        { 'quiet tenant': 'alone', ...cellsOf(alone), doubled: String(alone.duplicates) },
        { 'quiet tenant': `beside ${events} × ${LOUD.fanOut}`, ...cellsOf(beside), doubled: String(beside.duplicates) },
      ],
    ],
    notes: [
      `one batch: ${batchMs.toFixed(0)} ms; the other tenant's deliveries: ${perSecond.toFixed(0)} a second,`,
      `${requests} requests for ${events * LOUD.fanOut} deliveries`,
    ],
    figures: { events, fanOut: LOUD.fanOut, alone, beside, batchMs, perSecond, requests },
    targets: [
      { name: 'tenants: p95 beside fan-out / (2 × alone + one batch)', value: beside.p95 / limitMs, atMost: 1 },
      { name: 'tenants: requests for each delivery', value: requests / (events * LOUD.fanOut), atMost: 1 },
    ],
  };
}

/** The milliseconds to dispatch one event for all loud subscriptions. */
async function dispatchTime({ nats }: Stack): Promise<number> {
  const [subject = ''] = subjectsOf(LOUD);
  const begunAt = clockMs();
  const { seq } = await nats.jetstream().publish(subject, '{}');
  while (!(await isDispatched(nats, seq))) await delay(5);
  return clockMs() - begunAt;
}

/** Publishes the loud tenant's events and returns the seconds until all are delivered. */
async function publishLoud(stack: Stack, events: number): Promise<number> {
  const flood = startChild<FloodMessage>(stack, 'flood.ts');
  flood.send({ natsUrl: stack.natsUrl, events, subjects: subjectsOf(LOUD) } satisfies FloodOrder);
  const { begunAt, lastSequence } = await flood.first;
  await flood.stop();
  if (!(await waitUntil(() => isDispatched(stack.nats, lastSequence), MAX_MS)))
    throw new Error('not all events were dispatched');
  const isDelivered = async () => {
    const pending = await stack.query(`SELECT FROM deliveries WHERE status = 'PENDING' AND tenant <> 'quiet' LIMIT 1`);
    return pending.length === 0;
  };
  if (!(await waitUntil(isDelivered, MAX_MS))) throw new Error('not all events were delivered');
  return (clockMs() - begunAt) / 1_000;
}
