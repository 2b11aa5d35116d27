import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { describeSurroundings } from './describe-surroundings.ts';
import { floorRows, measureFloors } from './floor.ts';
import { measureIsolation } from './isolation.ts';
import { conclusionsOf, p95sOf, ratioOf, rowsOf, TARGET } from './isolation-report.ts';
import { fillLog, measureLog, tableOf } from './log.ts';
import { type Stack, startStack } from './stack.ts';
import { renderTable } from './table.ts';

const USAGE = `npm run bench -- isolation [--seconds 20] [--backlog 10000] [--blocks 2]
       npm run bench -- log [--rows 1000000]
       npm run bench -- floor [--events 6000]`;
const RESULTS = join(import.meta.dirname, 'results');
const startedAt = Date.now();

function report(text: string): void {
  console.log(`${((Date.now() - startedAt) / 1_000).toFixed(0).padStart(4)} s  ${text}`);
}

/** Runs a measurement, prints a table and keeps its figures. */
async function main(): Promise<void> {
  const options = readArguments();
  const interrupted = interruption();
  report('starting Postgres, nats-server and the program');
  const stack = await startStack(report);
  try {
    const runs = { isolation: run, log: runLog, floor: runFloor };
    await Promise.race([runs[options.measurement](stack, options), interrupted]);
  } finally {
    report('stopping');
    await stack.stop();
  }
}

const MEASUREMENTS = ['isolation', 'log', 'floor'] as const;
type Measurement = (typeof MEASUREMENTS)[number];

type Options = {
  readonly measurement: Measurement;
  readonly seconds: number;
  readonly backlog: number;
  readonly blocks: number;
  readonly rows: number;
  readonly events: number;
};

async function runLog(stack: Stack, { rows }: Options): Promise<void> {
  const surroundings = await describeSurroundings(stack);
  await fillLog(stack, { rows, report });
  const figures = await measureLog(stack, report);
  console.log(`\n${renderTable(tableOf(figures))}\n`);
  await keep('log', { ...surroundings, rows, figures });
}

async function runFloor(stack: Stack, { events }: Options): Promise<void> {
  const surroundings = await describeSurroundings(stack);
  const figures = await measureFloors(stack, { events, report });
  console.log(`\n${renderTable(floorRows(figures))}\n`);
  await keep('floor', { ...surroundings, events, figures });
}

async function run(stack: Stack, options: Options): Promise<void> {
  const surroundings = await describeSurroundings(stack);
  const blocks = await measureIsolation(stack, options, report);
  console.log(`\n${renderTable(rowsOf(blocks))}\n\n${conclusionsOf(blocks).join('\n')}\n`);
  const p95 = { alone: p95sOf(blocks, 'alone'), held: p95sOf(blocks, 'held'), influx: p95sOf(blocks, 'influx') };
  const ratio = { held: ratioOf(blocks, 'held'), influx: ratioOf(blocks, 'influx'), target: TARGET };
  await keep('isolation', { ...surroundings, options, ratio, p95, blocks });
}

async function keep(measurement: string, figures: object): Promise<void> {
  const at = new Date(startedAt).toISOString();
  const path = join(RESULTS, `${measurement}-${at.replaceAll(':', '-')}.json`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(path, `${JSON.stringify({ measurement, at, ...figures }, null, 2)}\n`);
  report(`all figures: ${path}`);
}

/** Throws, with how to call it, on anything it does not know. */
function readArguments(): Options {
  const { values, positionals } = parseArgs({
    options: {
      seconds: { type: 'string', default: '20' },
      backlog: { type: 'string', default: '10000' },
      blocks: { type: 'string', default: '2' },
      rows: { type: 'string', default: '1000000' },
      events: { type: 'string', default: '6000' },
    },
    allowPositionals: true,
  });
  const options = {
    seconds: Number(values.seconds),
    backlog: Number(values.backlog),
    blocks: Number(values.blocks),
    rows: Number(values.rows),
    events: Number(values.events),
  };
  const measurement = MEASUREMENTS.find((name) => name === positionals.join());
  const isValid = Object.values(options).every((value) => Number.isSafeInteger(value) && value > 0);
  if (measurement === undefined || !isValid) throw new Error(`usage: ${USAGE}`);
  return { measurement, ...options };
}

/** Rejects on Ctrl-C. Every time it comes: npm passes on what the terminal has sent us already. */
function interruption(): Promise<never> {
  const rejected = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        reject(new Error(`interrupted by ${signal}`));
      });
    }
  });
  // It may come while the servers start; then it shows as soon as they can be stopped.
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
