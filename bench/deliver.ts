import { setTimeout as delay } from 'node:timers/promises';
import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import type { FloodMessage, FloodOrder } from './flood.ts';
import type { HttpFloodOrder } from './flood-http.ts';
import { insertSubscriptions, subjectsOf } from './many-subscriptions.ts';
import type { Context } from './measurement.ts';
import { cpuBetween, type Kind, readUsages, type Usages } from './processes.ts';
import { isCalm } from './progress.ts';
import type { ReceiverMessage } from './receiver.ts';
import type { Stack } from './stack.ts';
import { urlsOf } from './start-traffic.ts';
import { waitUntil } from './wait-until.ts';

export type DeliverOptions = {
  readonly events: number;
  /** Subscriptions for each event. */
  readonly fanOut: number;
  readonly subscriptions: number;
  /** Options of the program's Node process. */
  readonly nodeOptions?: readonly string[];
  /** Variables of the program, such as WORKERS. */
  readonly env?: Readonly<Record<string, string>>;
  /** Events of one GraphQL mutation. Default: they are published to NATS. */
  readonly mutationOf?: number;
};

export type DeliverFigures = DeliverOptions & {
  readonly deliveries: number;
  /** Deliveries a second, from the first publish to the last attempt committed. */
  readonly perSecond: number;
  readonly cpuSecondsPer1000: Readonly<Partial<Record<Kind, number>>>;
  readonly memory: Usages;
  readonly databaseBytesPerDelivery: number;
  /** Written to Postgres's log of changes (WAL). */
  readonly walBytesPerDelivery: number;
  /** Requests beyond one for each delivery. */
  readonly doubled: number;
};

/** Endpoints of the receiver process, each on its own port, because different customers have different origins. */
const MAX_RECEIVERS = 100;
const WARM_UP_DELIVERIES = 2_000;
const MAX_MS = 600_000;

/** Publishes events as fast as JetStream or the mutation accepts them, and waits until each is delivered and logged. */
export async function measureDelivering(context: Context, options: DeliverOptions): Promise<DeliverFigures> {
  const { events, fanOut, subscriptions, nodeOptions = [], env = {}, mutationOf } = options;
  const types = subscriptions / fanOut;
  const counter = startChild<ReceiverMessage>(context, 'receiver.ts', Array<string>(MAX_RECEIVERS).fill('accepting'));
  const urls = await urlsOf(counter.first);
  let received = 0;
  counter.onMessage((message) => {
    if ('accepted' in message) received = message.accepted;
  });
  context.report(`${subscriptions} subscriptions, each event for ${fanOut}`);
  const stack = await context.startStack({
    nodeOptions,
    env,
    prepare: (database) => insertSubscriptions(database, { types, fanOut, urls }),
  });
  const subjects = subjectsOf({ types, fanOut });
  const publish = async (count: number) => {
    const expected = received + count * fanOut;
    const begunAt =
      mutationOf === undefined
        ? await publishAll(stack, { natsUrl: stack.natsUrl, events: count, subjects })
        : await publishOverHttp(stack, { ...stack.program, events: count, subjects, batch: mutationOf });
    if (!(await waitUntil(() => received >= expected, MAX_MS)))
      throw new Error(`only ${received} of ${expected} arrived`);
    await attemptsAre(stack, expected);
    return clockMs() - begunAt;
  };
  await publish(WARM_UP_DELIVERIES / fanOut);
  await waitUntil(() => isCalm(stack), 30_000);
  const [usage, bytes, before] = [await readUsages(), await readSizes(stack), received];
  context.report(`${events} events`);
  const seconds = (await publish(events)) / 1_000;
  const memory = await readUsages();
  const counted = await stack.program.metric('webhooks_attempts_total');
  if (counted !== received) throw new Error(`/metrics has ${counted} attempts, but ${received} requests arrived`);
  const deliveries = events * fanOut;
  const cpu = Object.entries(cpuBetween(usage, memory)).map(
    ([kind, time]) => [kind, (time * 1_000) / deliveries] as const,
  );
  const sizes = await readSizes(stack);
  return {
    ...options,
    deliveries,
    perSecond: deliveries / seconds,
    cpuSecondsPer1000: Object.fromEntries(cpu),
    memory,
    databaseBytesPerDelivery: (sizes.database - bytes.database) / deliveries,
    walBytesPerDelivery: (sizes.wal - bytes.wal) / deliveries,
    doubled: received - before - deliveries,
  };
}

/** Returns the time of the first publish, in milliseconds of clockMs. */
async function publishAll(stack: Stack, order: FloodOrder): Promise<number> {
  const flood = startChild<FloodMessage>(stack, 'flood.ts');
  flood.send(order);
  const { begunAt } = await flood.first;
  await flood.stop();
  return begunAt;
}

async function publishOverHttp(
  stack: Stack,
  { url, adminApiKey, events, subjects, batch }: HttpFloodOrder,
): Promise<number> {
  const flood = startChild<FloodMessage>(stack, 'flood-http.ts');
  flood.send({ url, adminApiKey, events, subjects, batch } satisfies HttpFloodOrder);
  const { begunAt } = await flood.first;
  await flood.stop();
  return begunAt;
}

/** Waits until the log has this number of attempts. Polls every 10 ms, because this ends the measured time. */
export async function attemptsAre({ query }: Stack, expected: number): Promise<void> {
  const deadline = clockMs() + MAX_MS;
  while (clockMs() < deadline) {
    const [row] = await query<{ count: number }>('SELECT count(*)::integer AS count FROM attempts');
    if ((row?.count ?? 0) >= expected) return;
    await delay(10);
  }
  throw new Error(`there are fewer than ${expected} attempts in the log`);
}

type Sizes = { readonly database: number; readonly wal: number };

/** In bytes; `wal`: all that was ever written. */
async function readSizes({ query }: Stack): Promise<Sizes> {
  const [row] = await query<Sizes>(`SELECT pg_database_size(current_database())::float8 AS database,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal`);
  return row ?? { database: Number.NaN, wal: Number.NaN };
}
