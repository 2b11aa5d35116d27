import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { measureBacklog } from './backlog.ts';
import { measureBullmqConditions } from './bullmq-conditions.ts';
import { measureConsole } from './console.ts';
import { describeSurroundings } from './describe-surroundings.ts';
import { measureGrowth } from './growth.ts';
import { measureHttp } from './http.ts';
import { measureIdle } from './idle.ts';
import { measureIsolation } from './isolation.ts';
import { measureLatency, measureWatchers } from './live-latency.ts';
import { measureLog } from './log.ts';
import type { Context, Measurement, Target } from './measurement.ts';
import { measureOrdinary } from './ordinary.ts';
import { measureProfile } from './profiled.ts';
import { startStack } from './stack.ts';
import { renderTable } from './table.ts';
import { measureTenants } from './tenants.ts';
import { measureThroughput } from './throughput.ts';
import { measureWaiting } from './waiting.ts';
import { measureProcesses } from './workers.ts';

const MEASUREMENTS: Readonly<Record<string, Measurement>> = {
  throughput: measureThroughput,
  ordinary: measureOrdinary,
  idle: measureIdle,
  backlog: measureBacklog,
  processes: measureProcesses,
  http: measureHttp,
  latency: measureLatency,
  watchers: measureWatchers,
  console: measureConsole,
  isolation: measureIsolation,
  tenants: measureTenants,
  waiting: measureWaiting,
  log: measureLog,
  growth: measureGrowth,
  bullmq: measureBullmqConditions,
};
const USAGE = `npm run bench -- [${Object.keys(MEASUREMENTS).join(' | ')} …] [--full] [--baseline <commit>]
       npm run bench -- --profile [--full]`;
const RESULTS = join(import.meta.dirname, 'results');
const PROFILE = 'profile';
const QUICK_PART = 10;
/** The last commit before the optimization for ordinary load. */
const BASELINE = '74164f0';
const startedAt = Date.now();

function report(text: string): void {
  console.log(`${((Date.now() - startedAt) / 1_000).toFixed(0).padStart(4)} s  ${text}`);
}

/** Runs measurements one after another, prints their tables, and writes all figures to a file. */
async function main(): Promise<void> {
  const { names, ...options } = readArguments();
  const interrupted = interruption();
  const results: Record<string, object> = {};
  const targets: Target[] = [];
  for (const name of names) {
    report(`== ${name}, Node ${process.version}`);
    try {
      const outcome = await Promise.race([run(name, options), interrupted]);
      const { tables, notes = [] } = outcome;
      console.log(`\n${[...tables.map((rows) => renderTable(rows)), notes.join('\n')].join('\n\n')}\n`);
      results[name] = outcome.figures;
      targets.push(...outcome.targets);
    } finally {
      await stopAll();
    }
  }
  if (targets.length > 0) console.log(`${renderTable(targets.map(rowOf))}\n`);
  await keep({ ...surroundings, ...options, targets, ...results });
}

let surroundings: object | undefined;
const stops: (() => Promise<void>)[] = [];
/** The start of the newest stack. stopAll() awaits it, because a stack can be stopped only after its start. */
let starting: Promise<unknown> = Promise.resolve();

async function stopAll(): Promise<void> {
  await starting.catch(() => undefined);
  for (const stop of stops.splice(0).reverse()) await stop();
}

type Options = { readonly isFull: boolean; readonly baseline: string };

function run(name: string, { isFull, baseline }: Options) {
  const onStop = (stop: () => Promise<void>) => void stops.push(stop);
  const context: Context = {
    report,
    isFull,
    baseline,
    onStop,
    stopAll,
    size: (full) => Math.ceil(isFull ? full : full / QUICK_PART),
    startStack: (options) => {
      const started = startStack({ report, ...options }).then(async (stack) => {
        onStop(() => stack.stop());
        surroundings ??= await describeSurroundings(stack);
        return stack;
      });
      starting = started;
      return started;
    },
  };
  const measure = name === PROFILE ? measureProfile : MEASUREMENTS[name];
  if (measure === undefined) throw new Error(`usage: ${USAGE}`);
  return measure(context);
}

function rowOf(target: Target): Record<string, string> {
  const { name, value } = target;
  const isMet = 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
  const limit = 'atLeast' in target ? `at least ${target.atLeast}` : `at most ${target.atMost}`;
  return {
    [`target, Node ${process.version}`]: name,
    value: value.toPrecision(3),
    limit,
    '': isMet ? 'met' : 'MISSED',
  };
}

async function keep(figures: object): Promise<void> {
  const at = new Date(startedAt).toISOString();
  const path = join(RESULTS, `${at.replaceAll(':', '-')}.json`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(path, `${JSON.stringify({ at, ...figures }, null, 2)}\n`);
  report(`all figures: ${path}`);
}

/** Throws an error with the usage on an unknown argument. */
function readArguments(): Options & { readonly names: readonly string[] } {
  const { values, positionals } = parseArgs({
    options: {
      full: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      baseline: { type: 'string', default: BASELINE },
    },
    allowPositionals: true,
  });
  const all = Object.keys(MEASUREMENTS);
  const isKnown = positionals.every((name) => all.includes(name)) && !(values.profile && positionals.length > 0);
  if (!isKnown) throw new Error(`usage: ${USAGE}`);
  const named = positionals.length === 0 ? all : positionals;
  return { names: values.profile ? [PROFILE] : named, isFull: values.full, baseline: values.baseline };
}

/**
 * Rejects on Ctrl-C, and when the terminal closes. The listeners stay for repeated signals, because npm forwards the
 * signals that the terminal has already sent to this process.
 */
function interruption(): Promise<never> {
  const rejected = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        reject(new Error(`interrupted by ${signal}`));
      });
    }
  });
  // Avoids an unhandled rejection if a signal comes while main() does not await this promise.
  rejected.catch(() => undefined);
  return rejected;
}

try {
  await main();
  process.exit(0);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
