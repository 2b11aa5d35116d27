import { setTimeout as delay } from 'node:timers/promises';
import type { Report } from '../src/embedded/report.ts';
import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import { cpuShares, readCpuTime } from './cpu-time.ts';
import type { FloodMessage } from './flood.ts';
import { HealthyTraffic } from './healthy-traffic.ts';
import type { Block, Phase } from './isolation-report.ts';
import { isCalm, isDispatched } from './progress.ts';
import type { ReceiverMessage } from './receiver.ts';
import { createSickSubscriptions, SICK_ENDPOINTS, type SickSubscriptions } from './sick-subscriptions.ts';
import type { Stack } from './stack.ts';
import { createSubscription } from './subscriptions.ts';
import { waitUntil } from './wait-until.ts';

export type IsolationOptions = {
  /** How long each phase lasts. */
  readonly seconds: number;
  /** How many events each sick subscription gets, in each block. */
  readonly backlog: number;
  /** How often the healthy ones are measured alone and beside sick ones. */
  readonly blocks: number;
};

const TENANT = 'bench';
const HEALTHY_COUNT = 50;
const EVENTS_PER_SECOND = 100;
const WARM_UP_MS = 10_000;
/** What has not arrived so long after a phase counts as missing. */
const GRACE_MS = 5_000;
const DISPATCH_MS = 300_000;
/** More than the 36 s that a first failure may wait in JetStream for its second attempt. */
const CALM_MS = 120_000;

type Context = IsolationOptions & {
  readonly stack: Stack;
  readonly traffic: HealthyTraffic;
  readonly sickUrls: readonly string[];
  readonly report: Report;
};

/** Measures the healthy subscriptions alone, then beside fresh sick ones, in turn. */
export async function measureIsolation(stack: Stack, options: IsolationOptions, report: Report): Promise<Block[]> {
  const { traffic, sickUrls } = await startEndpoints(stack);
  const context = { ...options, stack, traffic, sickUrls, report };
  report(`warming up: ${HEALTHY_COUNT} healthy subscriptions, ${EVENTS_PER_SECOND} events a second`);
  await publishFor(traffic, WARM_UP_MS);
  const blocks: Block[] = [];
  for (let number = 1; number <= options.blocks; number += 1) {
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

async function startEndpoints(stack: Stack): Promise<Pick<Context, 'traffic' | 'sickUrls'>> {
  const healthy = startChild<ReceiverMessage>(stack, 'receiver.ts', Array<string>(HEALTHY_COUNT).fill('healthy'));
  const sick = startChild<ReceiverMessage>(stack, 'receiver.ts', SICK_ENDPOINTS);
  const [healthyUrls, sickUrls] = await Promise.all([urlsOf(healthy.first), urlsOf(sick.first)]);
  const eventTypes = healthyUrls.map((_, index) => `healthy.${index}`);
  for (const [index, eventType] of eventTypes.entries()) {
    await createSubscription(stack, { tenant: TENANT, url: healthyUrls[index] ?? '', eventTypes: [eventType] });
  }
  const subjects = eventTypes.map((eventType) => `events.${TENANT}.${eventType}`);
  const traffic = new HealthyTraffic(stack.nats.jetstream(), { subjects, perSecond: EVENTS_PER_SECOND });
  healthy.onMessage((message) => {
    traffic.receive(message);
  });
  return { traffic, sickUrls };
}

async function urlsOf(first: Promise<ReceiverMessage>): Promise<readonly string[]> {
  const message = await first;
  if (!('urls' in message)) throw new Error('the receiver did not say where it listens');
  return message.urls;
}

async function publishFor(traffic: HealthyTraffic, ms: number): Promise<void> {
  const until = clockMs() + ms;
  await traffic.publishUntil(() => clockMs() >= until);
}

async function measureAlone({ traffic, seconds, report }: Context, number: number): Promise<Block> {
  report(`A${number}: ${seconds} s of healthy traffic alone`);
  const from = await moment();
  await publishFor(traffic, seconds * 1_000);
  const to = await moment();
  await waitUntil(() => traffic.between(from.at, to.at).missing === 0, GRACE_MS);
  return { name: `A${number}`, phases: [phaseOf('alone', traffic, { from, to })] };
}

async function measureBeside(context: Context, number: number): Promise<Block> {
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
  await waitUntil(() => traffic.between(from.at, to.at).missing === 0, GRACE_MS);
  const phases = [phaseOf('influx', traffic, { from, to: held }), phaseOf('held', traffic, { from: held, to })];
  report(`B${number}: deleting the sick subscriptions`);
  await sick.delete();
  return { name: `B${number}`, phases, backlog: { begin, end } };
}

type Sick = { readonly sick: SickSubscriptions; readonly number: number };

/** Publishes the sick subscriptions' events, and holds their backlog for as long as a phase lasts. */
async function makeBacklog({ stack, backlog, seconds, report }: Context, { sick, number }: Sick) {
  report(`B${number}: influx of ${backlog} events for each of ${sick.subjects.length} sick subscriptions`);
  const flood = startChild<FloodMessage>(stack, 'flood.ts', [stack.natsUrl, String(backlog), ...sick.subjects]);
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

function phaseOf(kind: Phase['kind'], traffic: HealthyTraffic, { from, to }: Span): Phase {
  const span = { from: from.at, to: to.at, cpu: cpuShares(from.cpu, to.cpu) };
  return { kind, ...span, ...traffic.between(from.at, to.at), lost: 0 };
}

async function calmDown({ stack, report }: Context): Promise<void> {
  report('waiting until nothing is pending');
  if (!(await waitUntil(() => isCalm(stack), CALM_MS))) report('it is still not calm; going on');
}
