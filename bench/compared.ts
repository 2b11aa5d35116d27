import type { Context } from './measurement.ts';
import { buildCommit } from './older-version.ts';
import { cpuBetween, type Kind, type Usages } from './processes.ts';
import type { Stack } from './stack.ts';
import { publishFor, startTraffic } from './start-traffic.ts';
import type { Traffic } from './traffic.ts';

/** This working tree or the older commit: its servers and its traffic. */
export type Version = { readonly name: string; readonly stack: Stack; readonly traffic: Traffic };

const TENANT = 'bench';
const SUBSCRIPTIONS = 100;
const WARM_UP_MS = 3_000;
const WARM_UP_PER_SECOND = 100;

/**
 * Starts the older commit and this working tree, each with servers of its own, a hundred subscriptions, and warmed up. Both
 * run during the whole measurement, so that blocks of one and of the other alternate.
 */
export async function startVersions(context: Context): Promise<{ readonly old: Version; readonly now: Version }> {
  const main = await buildCommit(context.baseline, context.report);
  const old = await startVersion(context, { name: context.baseline.slice(0, 7), main });
  const now = await startVersion(context, { name: 'this one' });
  context.report(`warming up both, ${WARM_UP_PER_SECOND} events a second`);
  for (const { traffic } of [old, now]) await publishFor(traffic, WARM_UP_MS, WARM_UP_PER_SECOND);
  return { old, now };
}

async function startVersion(
  context: Context,
  { name, main }: { readonly name: string; readonly main?: string },
): Promise<Version> {
  context.report(`starting ${name}`);
  const stack = await context.startStack(main === undefined ? {} : { main });
  const options = { tenant: TENANT, subscriptions: SUBSCRIPTIONS, perSecond: WARM_UP_PER_SECOND };
  return { name, stack, traffic: await startTraffic(stack, options) };
}

/** CPU seconds of the program, Postgres and nats-server between two readings; the bench's own processes do not count. */
export function partsBetween(from: Usages, to: Usages): { readonly [kind in Kind | 'all']?: number } {
  const cpu = cpuBetween(from, to);
  const parts = { program: cpu.program ?? 0, Postgres: cpu.Postgres ?? 0, 'nats-server': cpu['nats-server'] ?? 0 };
  return { ...parts, all: Object.values(parts).reduce((sum, seconds) => sum + seconds, 0) };
}
