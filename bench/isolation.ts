import { setTimeout as delay } from 'node:timers/promises';
import type { Report } from '../src/embedded/report.ts';
import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import { cpuShares, readCpuTime } from './cpu-time.ts';
import type { FloodMessage, FloodOrder } from './flood.ts';
import { type Block, conclusionsOf, type Phase, p95sOf, ratioOf, rowsOf } from './isolation-report.ts';
import type { Context, Outcome } from './measurement.ts';
import { isCalm, isDispatched } from './progress.ts';
import type { ReceiverMessage } from './receiver.ts';
import { createSickSubscriptions, SICK_ENDPOINTS, type SickSubscriptions } from './sick-subscriptions.ts';
import type { Stack } from './stack.ts';
import { publishFor, startTraffic, urlsOf } from './start-traffic.ts';
import type { Traffic } from './traffic.ts';
import { waitUntil } from './wait-until.ts';

const FULL = { seconds: 20, backlog: 10_000, blocks: 2 };
const MIN_SECONDS = 8;
const TENANT = 'bench';
const HEALTHY_COUNT = 50;
const EVENTS_PER_SECOND = 100;
const WARM_UP_MS = 5_000;
const DISPATCH_MS = 300_000;
/** Longer than the 36 s that a delivery may wait in JetStream for its second attempt. */
const CALM_MS = 120_000;

type Scene = {
  /** Duration of each phase. */
  readonly seconds: number;
  /** Events for each sick subscription in each block. */
  readonly backlog: number;
  /** Number of block pairs: healthy subscriptions alone, then beside sick ones. */
  readonly blocks: number;
  readonly stack: Stack;
  readonly traffic: Traffic;
  readonly sickUrls: readonly string[];
  readonly report: Report;
};

/** Measures the healthy subscriptions alone, then beside new sick ones, alternately. */
export async function measureIsolation({ report, size, startStack }: Context): Promise<Outcome> {
  const stack = await startStack();
  const { traffic, sickUrls } = await startEndpoints(stack);
  const options = {
    seconds: Math.max(MIN_SECONDS, size(FULL.seconds)),
    backlog: size(FULL.backlog),
    blocks: size(FULL.blocks),
  };
  const blocks = await measureBlocks({ ...options, stack, traffic, sickUrls, report });
  const p95 = { alone: p95sOf(blocks, 'alone'), held: p95sOf(blocks, 'held'), influx: p95sOf(blocks, 'influx') };
  const ratio = { held: ratioOf(blocks, 'held'), influx: ratioOf(blocks, 'influx') };
  return {
    tables: [rowsOf(blocks)],
    notes: conclusionsOf(blocks),
    figures: { options, ratio, p95, blocks },
    targets: [
      { name: 'isolation: p95 beside the backlog / alone', value: ratio.held, atMost: 1.25 },
      { name: 'isolation: p95 beside the influx / alone', value: ratio.influx, atMost: 5 },
    ],
  };
}

async function measureBlocks(context: Scene): Promise<Block[]> {
  const { traffic, report, blocks: count } = context;
  report(`warming up: ${HEALTHY_COUNT} healthy subscriptions, ${EVENTS_PER_SECOND} events a second`);
  await publishFor(traffic, WARM_UP_MS);
  const blocks: Block[] = [];
  for (let number = 1; number <= count; number += 1) {
    await calmDown(context);
    blocks.push(await measureAlone(context, number));
    blocks.push(await measureBeside(context, number));
  }
  report('waiting for what has not arrived');
  await waitUntil(() => traffic.between(0).missing === 0, CALM_MS);
  return blocks.map((block) => ({
    ...block,
    phases: block.phases.map((phase) => ({ ...phase, lost: traffic.between(phase.from, phase.to).missing })),
  }));
}

async function startEndpoints(stack: Stack): Promise<Pick<Scene, 'traffic' | 'sickUrls'>> {
  const traffic = await startTraffic(stack, {
    tenant: TENANT,
    subscriptions: HEALTHY_COUNT,
    perSecond: EVENTS_PER_SECOND,
  });
  const sick = startChild<ReceiverMessage>(stack, 'receiver.ts', SICK_ENDPOINTS);
  return { traffic, sickUrls: await urlsOf(sick.first) };
}

async function measureAlone({ traffic, seconds, report }: Scene, number: number): Promise<Block> {
  report(`A${number}: ${seconds} s of healthy traffic alone`);
  const from = await moment();
  await publishFor(traffic, seconds * 1_000);
  const to = await moment();
  await traffic.settled(from.at, to.at);
  return { name: `A${number}`, phases: [phaseOf('alone', traffic, { from, to })] };
}

async function measureBeside(context: Scene, number: number): Promise<Block> {
  const { stack, traffic, sickUrls, report } = context;
  const sick = await createSickSubscriptions(stack, { tenant: TENANT, block: `b${number}`, urls: sickUrls });
  const from = await moment();
  let isOver = false;
  const [, { held, begin, end }] = await Promise.all([
    traffic.publishUntil(() => isOver),
    makeBacklog(context, { sick, number }).finally(() => {
      isOver = true;
    }),
  ]);
  const to = await moment();
  await traffic.settled(from.at, to.at);
  const phases = [phaseOf('influx', traffic, { from, to: held }), phaseOf('held', traffic, { from: held, to })];
  report(`B${number}: deleting the sick subscriptions`);
  await sick.delete();
  return { name: `B${number}`, phases, backlog: { begin, end } };
}

type Sick = { readonly sick: SickSubscriptions; readonly number: number };

/** Publishes the sick subscriptions' events, and keeps their backlog for the duration of a phase. */
async function makeBacklog({ stack, backlog, seconds, report }: Scene, { sick, number }: Sick) {
  report(`B${number}: influx of ${backlog} events for each of ${sick.subjects.length} sick subscriptions`);
  const { subjects } = sick;
  const flood = startChild<FloodMessage>(stack, 'flood.ts');
  flood.send({ natsUrl: stack.natsUrl, events: backlog * subjects.length, subjects } satisfies FloodOrder);
  const { lastSequence } = await flood.first;
  await flood.stop();
  const isAllDispatched = await waitUntil(() => isDispatched(stack.nats, lastSequence), DISPATCH_MS);
  if (!isAllDispatched) throw new Error(`the influx was not dispatched within ${DISPATCH_MS} ms`);
  const held = await moment();
  const begin = await sick.backlog();
  report(`B${number}: ${seconds} s beside the backlog`);
  await delay(seconds * 1_000);
  return { held, begin, end: await sick.backlog() };
}

async function moment() {
  return { at: clockMs(), cpu: await readCpuTime() };
}

type Moment = Awaited<ReturnType<typeof moment>>;
type Span = { readonly from: Moment; readonly to: Moment };

function phaseOf(kind: Phase['kind'], traffic: Traffic, { from, to }: Span): Phase {
  const span = { from: from.at, to: to.at, cpu: cpuShares(from.cpu, to.cpu) };
  return { kind, ...span, ...traffic.between(from.at, to.at), lost: 0 };
}

async function calmDown({ stack, report }: Scene): Promise<void> {
  report('waiting until nothing is pending');
  if (!(await waitUntil(() => isCalm(stack), CALM_MS))) report('it is still not calm; going on');
}
