import process from 'node:process';
import { parseArgs } from 'node:util';
import { renderTable } from '../../bench/table.ts';
import { readNatsVersion } from '../../src/embedded/nats-version.ts';
import { assessServerVersion } from '../../src/nats/link.ts';
import { runCrashTest } from './crash-test.ts';
import { keepResult } from './keep-result.ts';
import { CLUSTER, CLUSTER_FORM, FULL_FORM, SINGLE } from './schedule.ts';
import { findServer } from './stack.ts';
import { hasPassed, rowsOf } from './table.ts';

const USAGE = 'npm run crash-test [-- --cluster] [--seed N] [--events 100000] [--minutes 10]';
const MINUTE_MS = 60_000;
/**
 * Publishing rate if the publisher never waits. Two idle cores can process it during the disturbances; in a cluster
 * each message is written three times.
 */
const EVENTS_PER_SECOND = { single: 350, cluster: 100 } as const;
const DEFAULT_EVENTS = { single: 100_000, cluster: 25_000 } as const;
/** Two ack waits of 60 s, and the time to detect the losses of a crash of nats-server. */
const MAX_DRAIN_MS = 190_000;
/** Time reserved for starting, judging and stopping. */
const RESERVE_MS = 50_000;
/** Longer than every outage of an endpoint, so that no delivery fails permanently. */
const RETRY_SCHEDULE = ['1s', '1s', '2s', '3s', ...Array<string>(26).fill('5s')].join();
const startedAt = Date.now();

function report(text: string): void {
  console.log(`${((Date.now() - startedAt) / 1_000).toFixed(0).padStart(4)} s  ${text}`);
}

/** Returns whether the test passed. */
async function main(): Promise<boolean> {
  const { seed, events, minutes, form } = readArguments();
  const isCluster = form === 'cluster';
  const interruption = abortOnSignal();
  report(
    `seed ${seed}: npm run crash-test -- ${isCluster ? '--cluster ' : ''}--seed ${seed} --events ${events} --minutes ${minutes}`,
  );
  const natsServer = await findServer(report);
  if (isCluster) await warnOfOldServer(natsServer);
  const maxDrainMs = Math.min(MAX_DRAIN_MS, (minutes * MINUTE_MS) / 3);
  const result = await runCrashTest({
    seed,
    events,
    topology: isCluster ? CLUSTER : SINGLE,
    form: isCluster ? CLUSTER_FORM : FULL_FORM,
    report,
    signal: interruption.signal,
    natsServer,
    program: 'dist/main.js',
    ackWaitMs: undefined,
    maxBacklog: 5_000,
    publishMs: Math.round((events * 1_000) / EVENTS_PER_SECOND[form]),
    maxPublishMs: minutes * MINUTE_MS - maxDrainMs - RESERVE_MS,
    maxDrainMs,
    timeoutMs: 5_000,
    retrySchedule: RETRY_SCHEDULE,
  });
  console.log(`\n${renderTable(rowsOf(result))}\n`);
  report(`all figures: ${await keepResult(result)}`);
  const passed = hasPassed(result);
  console.log(passed ? `seed ${seed}: nothing was lost` : `seed ${seed}: FAILED`);
  return passed;
}

type Options = {
  readonly form: 'single' | 'cluster';
  readonly seed: number;
  readonly events: number;
  readonly minutes: number;
};

/** Throws on unknown or invalid arguments. */
async function warnOfOldServer(natsServer: string): Promise<void> {
  const { text } = await readNatsVersion(natsServer);
  if (assessServerVersion(text) === 'sound') return;
  report(
    `nats-server ${text} can lose acknowledged events in a cluster: put 2.12.5 or newer first on PATH (docs/nats-server.md)`,
  );
}

function readArguments(): Options {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      cluster: { type: 'boolean', default: false },
      events: { type: 'string' },
      minutes: { type: 'string', default: '10' },
    },
  });
  const form = values.cluster ? 'cluster' : 'single';
  const events = values.events ?? DEFAULT_EVENTS[form];
  const options = { form, seed: Number(values.seed), events: Number(events), minutes: Number(values.minutes) } as const;
  const isValid = [options.seed, options.events, options.minutes].every(Number.isSafeInteger);
  if (!isValid || options.events < 1 || options.minutes < 2) throw new Error(`usage: ${USAGE}`);
  return options;
}

/** Handles every signal, not only the first: npm forwards signals that the terminal has already sent. */
function abortOnSignal(): AbortController {
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interruption.abort();
    });
  }
  return interruption;
}

try {
  process.exit((await main()) ? 0 : 1);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
