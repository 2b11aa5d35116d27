import { setTimeout as delay } from 'node:timers/promises';
import { clockMs } from './clock.ts';
import { partsBetween, startVersions, type Version } from './compared.ts';
import { median } from './latency.ts';
import type { Context, Outcome, Target } from './measurement.ts';
import { readUsages } from './processes.ts';
import { publishFor } from './start-traffic.ts';

/** Events a second. */
const RATES = [50, 200] as const;
const FULL = { seconds: 20, rounds: 3 };
const QUICK = { seconds: 4, rounds: 2 };
/** After the last arrival, time in which attempts are committed and messages acknowledged. */
const COMMIT_MS = 500;

type Block = {
  readonly perSecond: number;
  readonly events: number;
  readonly missing: number;
  readonly duplicates: number;
  readonly p50: number;
  readonly p95: number;
  /** CPU seconds for 1,000 deliveries. */
  readonly program: number;
  readonly Postgres: number;
  readonly natsServer: number;
  readonly all: number;
};

/** Measures cost and latency of deliveries at ordinary rates, in turns with an older commit. */
export async function measureOrdinary(context: Context): Promise<Outcome> {
  const { seconds, rounds } = context.isFull ? FULL : QUICK;
  const versions = await startVersions(context);
  const blocks: { readonly version: Version; readonly block: Block }[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const perSecond of RATES) {
      for (const version of [versions.old, versions.now]) {
        context.report(`round ${round} of ${rounds}: ${version.name}, ${perSecond} events a second for ${seconds} s`);
        blocks.push({ version, block: await measureBlock(version, { perSecond, ms: seconds * 1_000 }) });
      }
    }
  }
  const mediansOf = (version: Version, perSecond: number) =>
    medians(
      blocks.filter((one) => one.version === version && one.block.perSecond === perSecond).map((one) => one.block),
    );
  const pairs = RATES.map((perSecond) => ({
    old: mediansOf(versions.old, perSecond),
    now: mediansOf(versions.now, perSecond),
  }));
  return {
    tables: [pairs.flatMap(({ old, now }) => [rowOf(versions.old.name, old), rowOf(versions.now.name, now)])],
    notes: ['CPU in seconds for 1,000 deliveries; each figure is the median of its blocks'],
    figures: {
      baseline: context.baseline,
      blocks: blocks.map(({ version, block }) => ({ version: version.name, ...block })),
    },
    targets: pairs.flatMap(({ old, now }) => targetsOf(old, now)),
  };
}

async function measureBlock(
  { stack, traffic }: Version,
  { perSecond, ms }: { readonly perSecond: number; readonly ms: number },
): Promise<Block> {
  const usage = await readUsages(stack.directory);
  const from = clockMs();
  await publishFor(traffic, ms, perSecond);
  const { events, missing, duplicates, p50, p95 } = await traffic.settled(from, clockMs());
  await delay(COMMIT_MS);
  const parts = partsBetween(usage, await readUsages(stack.directory));
  const each = (cpuSeconds = 0) => (1_000 * cpuSeconds) / events;
  return {
    perSecond,
    events,
    missing,
    duplicates,
    p50,
    p95,
    program: each(parts.program),
    Postgres: each(parts.Postgres),
    natsServer: each(parts['nats-server']),
    all: each(parts.all),
  };
}

function medians(blocks: readonly Block[]): Block {
  const of = (name: keyof Block) => median(blocks.map((block) => block[name]));
  return {
    perSecond: of('perSecond'),
    events: blocks.reduce((sum, { events }) => sum + events, 0),
    missing: blocks.reduce((sum, { missing }) => sum + missing, 0),
    duplicates: blocks.reduce((sum, { duplicates }) => sum + duplicates, 0),
    p50: of('p50'),
    p95: of('p95'),
    program: of('program'),
    Postgres: of('Postgres'),
    natsServer: of('natsServer'),
    all: of('all'),
  };
}

function rowOf(version: string, block: Block): Record<string, string> {
  return {
    'events a second': String(block.perSecond),
    version,
    events: String(block.events),
    missing: String(block.missing),
    doubled: String(block.duplicates),
    'p50 ms': block.p50.toFixed(1),
    'p95 ms': block.p95.toFixed(1),
    program: block.program.toFixed(2),
    Postgres: block.Postgres.toFixed(2),
    'nats-server': block.natsServer.toFixed(2),
    'all CPU': block.all.toFixed(2),
  };
}

function targetsOf(old: Block, now: Block): Target[] {
  const name = (figure: string) => `ordinary: ${figure} at ${now.perSecond} a second / the older commit's`;
  const cpu = { name: name('CPU'), value: now.all / old.all, atMost: 0.45 };
  if (now.perSecond < 200) return [cpu];
  return [
    cpu,
    { name: name('p50'), value: now.p50 / old.p50, atMost: 0.4 },
    { name: name('p95'), value: now.p95 / old.p95, atMost: 0.4 },
  ];
}
