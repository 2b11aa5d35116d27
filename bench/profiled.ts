import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { measureDelivering } from './deliver.ts';
import type { Context, Outcome } from './measurement.ts';
import { readCosts, type Share } from './profile.ts';

const FOLDER = join(import.meta.dirname, 'results/profile');
const SHOWN = 30;

/** Measures the throughput of fan-out 1 with the program under V8's profiler. */
export async function measureProfile(context: Context): Promise<Outcome> {
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  const nodeOptions = ['--cpu-prof', `--cpu-prof-dir=${FOLDER}`];
  const events = 20_000;
  const figures = await measureDelivering(context, { events, fanOut: 1, subscriptions: 100, nodeOptions });
  // The program writes its profile when it exits.
  await context.stopAll();
  const { file, functions, modules } = await readCosts(FOLDER);
  return {
    tables: [functions.slice(0, SHOWN).map(rowOf('function')), modules.slice(0, SHOWN).map(rowOf('module'))],
    notes: [`for a profiler's own view: ${file}`],
    figures: { ...figures, functions: functions.slice(0, SHOWN), modules: modules.slice(0, SHOWN) },
    targets: [],
  };
}

function rowOf(title: string) {
  return ({ name, percent }: Share) => ({ '% of its CPU': percent.toFixed(1), [title]: name });
}
