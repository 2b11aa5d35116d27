import { setTimeout as delay } from 'node:timers/promises';
import { describeSurroundings } from '../../bench/describe-surroundings.ts';
import { waitUntil } from '../../bench/wait-until.ts';
import { whenAborted } from '../../src/lib/waiting.ts';
import { subscribe } from '../support/test-app.ts';
import { readDeliveryLog } from './delivery-log.ts';
import { Disturber, type Incident } from './disturber.ts';
import { Endpoints } from './endpoints.ts';
import { type Judgement, judge } from './judge.ts';
import { createIsSettled, describeProgress, type Running } from './progress.ts';
import { Publisher } from './publisher.ts';
import { type Disturbance, planSchedule, type ScheduleForm } from './schedule.ts';
import { Stack, type StackOptions } from './stack.ts';
import { Tally } from './tally.ts';
import { TENANT, typeSubscribedBy } from './traffic.ts';

export type CrashTestOptions = Omit<StackOptions, 'env'> & {
  readonly seed: number;
  readonly events: number;
  readonly form: ScheduleForm;
  /** Maximum missing deliveries; the publisher waits at this limit. */
  readonly maxBacklog: number;
  /** Duration of publishing if the publisher never waits. */
  readonly publishMs: number;
  /** Time limit of publishing. */
  readonly maxPublishMs: number;
  /** Time limit for the remaining deliveries after publishing. */
  readonly maxDrainMs: number;
  /** Timeout of one attempt. */
  readonly timeoutMs: number;
  readonly retrySchedule: string;
  readonly report: (text: string) => void;
  readonly signal: AbortSignal;
};

export type CrashTestResult = {
  readonly seed: number;
  readonly judgement: Judgement;
  readonly schedule: readonly Disturbance[];
  readonly incidents: readonly Incident[];
  readonly published: number;
  readonly acknowledged: number;
  /** Number of `publishEvent` calls without an answer within a minute. */
  readonly unanswered: number;
  readonly requests: number;
  readonly attempts: number;
  /** Messages that JetStream still held at the end. */
  readonly unacked: number;
  readonly publishedInMs: number;
  /** Time from the end of publishing to the arrival of the last delivery. */
  readonly lastAfterMs: number;
  readonly surroundings: unknown;
  /** All records of the deliveries with the first problems, and of the last deliveries to arrive. */
  readonly evidence: unknown;
  /** Output of each process. */
  readonly outputs: readonly (readonly [name: string, output: string])[];
};

const PROGRESS_MS = 5_000;
const MAX_SUSPECTS = 200;
const LAST = 20;
const SENDER_ACK_WAIT_MS = 60_000;
const SLACK_MS = 3_000;

/** Publishes, disturbs, waits until all deliveries have arrived, and judges. Stops everything it has started. */
export async function runCrashTest(options: CrashTestOptions): Promise<CrashTestResult> {
  const { seed, report, signal, retrySchedule } = options;
  const tally = new Tally();
  const endpoints = new Endpoints(seed, (request) => {
    tally.succeed(request);
  });
  const urls = await endpoints.start();
  let stack: Stack | undefined;
  try {
    report(`starting ${[...options.topology.servers, ...options.topology.processes].join(', ')}`);
    stack = await Stack.start({ ...options, env: { RETRY_SCHEDULE: retrySchedule, LOG_LEVEL: 'warn' } });
    signal.throwIfAborted();
    return await run(options, { stack, endpoints, urls, tally });
  } finally {
    await stack?.stop();
    await endpoints.stop();
  }
}

type Parts = Pick<Running, 'stack' | 'endpoints' | 'tally'> & { readonly urls: readonly string[] };

async function run(options: CrashTestOptions, { stack, endpoints, urls, tally }: Parts): Promise<CrashTestResult> {
  const { report, signal, seed, events, form, publishMs, timeoutMs } = options;
  const surroundings = await describeSurroundings({ nats: stack.connection, query: stack.postgres.query });
  for (const [endpoint, url] of urls.entries()) {
    await subscribe(stack.graphql, { tenant: TENANT, url, eventTypes: [typeSubscribedBy(endpoint)], timeoutMs });
  }
  const schedule = planSchedule({ seed, form, durationMs: publishMs });
  const perSecond = (events * 1_000) / publishMs;
  const to = { natsUrl: stack.nats.url, graphql: stack.graphql };
  const publisher = await Publisher.start({ seed, events, perSecond, maxBacklog: options.maxBacklog, tally, ...to });
  const disturber = new Disturber({
    stack,
    endpoints,
    report,
    signal,
    clockMs: () => publisher.clockMs,
  });
  const running = { stack, endpoints, publisher, disturber, tally };
  try {
    const times = await publishAndDrain(options, { running, schedule });
    const { acknowledged, published, unanswered } = publisher;
    const [{ incidents }, { requests, delays }] = [disturber, endpoints];
    const log = await readDeliveryLog(stack.postgres);
    const endedByThemselves = stack.endedByThemselves();
    const stored = await stack.storedEvents();
    const slowness = Math.max(1, times.publishedInMs / options.publishMs);
    const seen = { requests, delays, incidents, endedByThemselves, slowness };
    const judgement = judge({ ...log, ...seen, acknowledged, stored, urls });
    const counts = { published, unanswered, acknowledged: acknowledged.length, requests: requests.length };
    const outputs = stack.outputs();
    const suspects = new Set([
      ...judgement.problems.slice(0, MAX_SUSPECTS).map(({ about }) => about),
      ...requests.slice(-LAST).map(({ deliveryId }) => deliveryId),
    ]);
    const evidence = {
      requests: requests.filter(({ deliveryId }) => suspects.has(deliveryId)),
      attempts: log.attempts.filter(({ deliveryId }) => suspects.has(deliveryId)),
      deliveries: log.deliveries.filter(({ id }) => suspects.has(id)),
      delays,
    };
    return {
      seed,
      judgement,
      schedule,
      incidents,
      ...counts,
      attempts: log.attempts.length,
      unacked: await stack.unacked(),
      ...times,
      surroundings,
      evidence,
      outputs,
    };
  } finally {
    await publisher.stop();
    if (signal.aborted) await disturber.settle();
  }
}

/** Resolves within the time limits, even if deliveries are missing; rejects when the test is interrupted. */
async function publishAndDrain(
  { report, signal, events, publishMs, maxPublishMs, maxDrainMs, ackWaitMs }: CrashTestOptions,
  { running, schedule }: { readonly running: Running; readonly schedule: readonly Disturbance[] },
): Promise<Pick<CrashTestResult, 'publishedInMs' | 'lastAfterMs'>> {
  const isOver = new AbortController();
  const startedAt = Date.now();
  report(`publishing ${events} events in ${publishMs / 1_000} s, with ${schedule.length} disturbances`);
  const progress = setInterval(() => {
    report(describeProgress(running));
  }, PROGRESS_MS);
  const interrupted = new Promise<never>((_, reject) => {
    whenAborted(signal, () => {
      reject(new Error('interrupted'));
    });
  });
  try {
    const published = Promise.all([running.publisher.run(), running.disturber.run(schedule)]);
    const tooLate = delay(maxPublishMs, undefined, { signal: isOver.signal });
    await Promise.race([published, tooLate, interrupted]);
    running.publisher.end();
    running.disturber.end();
    const publishedAt = Date.now();
    report('waiting until all deliveries have arrived');
    const isSettled = createIsSettled(running, (ackWaitMs ?? SENDER_ACK_WAIT_MS) + SLACK_MS);
    const settled = await Promise.race([waitUntil(isSettled, maxDrainMs), interrupted]);
    report(describeProgress(running));
    if (!settled) report('time limit reached');
    if (!settled) await running.disturber.freeze();
    return { publishedInMs: publishedAt - startedAt, lastAfterMs: Math.max(0, running.tally.lastAt - publishedAt) };
  } finally {
    clearInterval(progress);
    isOver.abort();
  }
}
