import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import { partsBetween } from './compared.ts';
import { attemptsAre, measureDelivering } from './deliver.ts';
import type { FloodMessage, FloodOrder } from './flood.ts';
import { insertSubscriptions, subjectsOf } from './many-subscriptions.ts';
import type { Context, Outcome } from './measurement.ts';
import { readUsages } from './processes.ts';
import { isDispatched } from './progress.ts';
import type { ReceiverMessage } from './receiver.ts';
import type { Stack } from './stack.ts';
import { urlsOf } from './start-traffic.ts';
import { waitUntil } from './wait-until.ts';

/** 1,000 subscriptions: each event is for ten, so that the backlog builds up quickly. */
const SUBSCRIPTIONS = { types: 100, fanOut: 10 };
const ENDPOINTS = 100;
/** Deliveries of the backlog, and of the throughput it is compared with. */
const FULL = { deliveries: 300_000, throughput: 60_000 };
const QUICK = { deliveries: 15_000, throughput: 8_000 };
/** Deliveries that the senders make before the measurement begins. */
const WARM_UP_DELIVERIES = 2_000;
const MAX_MS = 900_000;

/** The processes that drain the backlog: variables of each one. */
const DRAINS: Readonly<Record<string, readonly Readonly<Record<string, string>>[]>> = {
  'one process': [{ WORKERS: '0' }],
  'two workers': [{ WORKERS: '2' }],
};

type Drain = { readonly perSecond: number; readonly doubled: number; readonly cpuSecondsPer1000: Parts };
type Parts = ReturnType<typeof partsBetween>;

/** Measures how fast deliveries that were dispatched while no sender ran are made, as a part of the throughput. */
export async function measureBacklog(context: Context): Promise<Outcome> {
  const { deliveries, throughput: events } = context.isFull ? FULL : QUICK;
  const throughput = await measureDelivering(context, { events, fanOut: 1, subscriptions: 100 });
  await context.stopAll();
  const drains: { readonly name: string; readonly drain: Drain }[] = [];
  for (const [name, processes] of Object.entries(DRAINS)) {
    drains.push({ name, drain: await measureDrain(context, { name, processes, deliveries }) });
    await context.stopAll();
  }
  const { program = 0, Postgres = 0, 'nats-server': natsServer = 0 } = throughput.cpuSecondsPer1000;
  const cpu = { program, Postgres, 'nats-server': natsServer, all: program + Postgres + natsServer };
  return {
    tables: [
      [
        rowOf('throughput', { perSecond: throughput.perSecond, cpuSecondsPer1000: cpu, doubled: throughput.doubled }),
        ...drains.map(({ name, drain }) => rowOf(`backlog, ${name}`, drain)),
      ],
    ],
    notes: ['CPU in seconds for 1,000 deliveries; that of a backlog does not include dispatching'],
    figures: { deliveries, throughput, drains },
    targets: drains.map(({ name, drain }) => ({
      name: `backlog: drain by ${name} / throughput`,
      value: drain.perSecond / throughput.perSecond,
      atLeast: 0.9,
    })),
  };
}

type DrainOptions = {
  readonly name: string;
  readonly processes: readonly Readonly<Record<string, string>>[];
  readonly deliveries: number;
};

async function measureDrain(context: Context, { name, processes, deliveries }: DrainOptions): Promise<Drain> {
  const receiver = startChild<ReceiverMessage>(context, 'receiver.ts', Array<string>(ENDPOINTS).fill('accepting'));
  const urls = await urlsOf(receiver.first);
  let received = 0;
  receiver.onMessage((message) => {
    if ('accepted' in message) received = message.accepted;
  });
  const stack = await context.startStack({
    prepare: (database) => insertSubscriptions(database, { ...SUBSCRIPTIONS, urls }),
    env: { ROLES: 'api,dispatcher', WORKERS: '0' },
  });
  context.report(
    `a backlog of ${deliveries} deliveries for ${SUBSCRIPTIONS.types * SUBSCRIPTIONS.fanOut} subscriptions`,
  );
  await pileUp(stack, deliveries);
  await stack.program.stop();
  context.report(`drained by ${name}`);
  for (const env of processes) await stack.startProgram(env);
  const until = async (count: number) => {
    if (!(await waitUntil(() => received >= count, MAX_MS))) throw new Error(`only ${received} of ${count} arrived`);
  };
  await until(WARM_UP_DELIVERIES);
  const [from, begun, usage] = [clockMs(), received, await readUsages(stack.directory)];
  await until(deliveries);
  await attemptsAre(stack, deliveries);
  const [ms, drained] = [clockMs() - from, deliveries - begun];
  const parts = Object.entries(partsBetween(usage, await readUsages(stack.directory)));
  return {
    perSecond: (1_000 * drained) / ms,
    cpuSecondsPer1000: Object.fromEntries(parts.map(([part, seconds]) => [part, (1_000 * seconds) / drained])),
    doubled: received - deliveries,
  };
}

/** Publishes the events, and waits until all their deliveries are in Postgres. */
async function pileUp(stack: Stack, deliveries: number): Promise<void> {
  const flood = startChild<FloodMessage>(stack, 'flood.ts');
  const events = deliveries / SUBSCRIPTIONS.fanOut;
  flood.send({ natsUrl: stack.natsUrl, events, subjects: subjectsOf(SUBSCRIPTIONS) } satisfies FloodOrder);
  const { lastSequence } = await flood.first;
  await flood.stop();
  if (!(await waitUntil(() => isDispatched(stack.nats, lastSequence), MAX_MS)))
    throw new Error('not all events were dispatched');
}

function rowOf(name: string, { perSecond, cpuSecondsPer1000: cpu, doubled }: Drain): Record<string, string> {
  const show = (part: keyof Parts) => (cpu[part] ?? 0).toFixed(3);
  return {
    '': name,
    'a second': perSecond.toFixed(0),
    doubled: String(doubled),
    program: show('program'),
    Postgres: show('Postgres'),
    'nats-server': show('nats-server'),
    'all CPU': show('all'),
  };
}
