import { setTimeout as delay } from 'node:timers/promises';
import { partsBetween, startVersions } from './compared.ts';
import type { Context, Outcome } from './measurement.ts';
import { readUsages } from './processes.ts';

/** Seconds without events before the measurement, and of the measurement. */
const FULL = { quiet: 60, measured: 60 };
const QUICK = { quiet: 15, measured: 20 };

/** Measures the CPU time of an installation without events, of this working tree and of an older commit at once. */
export async function measureIdle(context: Context): Promise<Outcome> {
  const { quiet, measured } = context.isFull ? FULL : QUICK;
  const { old, now } = await startVersions(context);
  context.report(`${quiet} s without events, then ${measured} s measured`);
  await delay(quiet * 1_000);
  const read = async () => ({ old: await readUsages(old.stack.directory), now: await readUsages(now.stack.directory) });
  const before = await read();
  await delay(measured * 1_000);
  const after = await read();
  const figures = { old: partsBetween(before.old, after.old), now: partsBetween(before.now, after.now) };
  const percent = (seconds = 0) => (100 * seconds) / measured;
  const rowOf = (version: string, parts: (typeof figures)['now']) => ({
    '% of a core while idle': version,
    program: percent(parts.program).toFixed(2),
    Postgres: percent(parts.Postgres).toFixed(2),
    'nats-server': percent(parts['nats-server']).toFixed(2),
    all: percent(parts.all).toFixed(2),
  });
  return {
    tables: [[rowOf(old.name, figures.old), rowOf(now.name, figures.now)]],
    figures: { baseline: context.baseline, seconds: { quiet, measured }, cpuSeconds: figures },
    targets: [{ name: 'idle: all parts, % of a core', value: percent(figures.now.all), atMost: 1 }],
  };
}
