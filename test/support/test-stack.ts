import type pg from 'pg';
import { type Logger, pino } from 'pino';
import type { JobLimits } from '../../src/jobs.ts';
import type { CleanUps } from './clean-ups.ts';
import { type Receiver, type Respond, startReceiver } from './receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from './test-app.ts';
import { waitFor } from './wait-for.ts';

/** Delivery state of a subscription: a row of `subscription_states`. */
type QueueState = {
  readonly isBacklogged: boolean;
  readonly isOpen: boolean;
  readonly publishWindow: number | null;
  readonly probeWaitMs: number | null;
  /** Milliseconds until the next sweep of the subscription; null if no sweep is scheduled. */
  readonly dueInMs: number | null;
};

/** A Postgres and a NATS for one test, one or more programs that use them, and receivers. */
export type TestStack = TestServices & {
  readonly app: TestApp;
  readonly apps: readonly TestApp[];
  /** Log lines of the programs, each a JSON object. */
  readonly logLines: readonly string[];
  readonly receive: (respond?: Respond) => Promise<Receiver>;
  readonly publishMany: (type: string, count: number) => Promise<void>;
  /** Number of deliveries that satisfy an SQL condition. */
  readonly countDeliveries: (where: string, values?: unknown[]) => Promise<number>;
  readonly waitForDeliveries: (count: number, where: string) => Promise<void>;
  readonly stateOf: (subscriptionId: string) => Promise<QueueState>;
};

export type TestStackOptions = {
  /** Number of programs. */
  readonly apps?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: JobLimits;
};

export async function startTestStack(
  cleanUps: CleanUps,
  { apps: appCount = 1, env = {}, limits = {} }: TestStackOptions = {},
): Promise<TestStack> {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  const logLines: string[] = [];
  const log: Logger = pino({ level: 'warn' }, { write: (line: string) => void logLines.push(line) });
  const apps: TestApp[] = [];
  for (let index = 0; index < appCount; index += 1) apps.push(await startTestApp(services, { env, log, limits }));
  // In parallel: a program that waits for its attempts does not delay the others.
  cleanUps.push(async () => {
    await Promise.all(apps.map((app) => app.stop()));
  });
  const [app] = apps;
  if (app === undefined) throw new Error('a test stack needs a program');
  const countDeliveries = (where: string, values: unknown[] = []) => countOf(services, { where, values });
  return {
    ...services,
    app,
    apps,
    logLines,
    countDeliveries,
    receive: async (respond) => {
      const receiver = await startReceiver(respond);
      cleanUps.push(() => receiver.close());
      return receiver;
    },
    publishMany: (type, count) => publishMany(services, { type, count }),
    waitForDeliveries: async (count, where) => {
      await waitFor(async () => (await countDeliveries(where)) === count, {
        what: `${count} deliveries with ${where}`,
      });
    },
    stateOf: (subscriptionId) => stateOf(services, subscriptionId),
  };
}

async function publishMany(
  { publish }: TestServices,
  { type, count }: { readonly type: string; readonly count: number },
): Promise<void> {
  for (let start = 0; start < count; start += 100) {
    const chunk = Array.from({ length: Math.min(100, count - start) }, () => publish(`events.acme.${type}`, '{}'));
    await Promise.all(chunk);
  }
}

async function countOf(
  { query }: TestServices,
  { where, values }: { readonly where: string; readonly values: unknown[] },
): Promise<number> {
  const [row] = await query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM deliveries WHERE ${where}`,
    values,
  );
  return row?.count ?? 0;
}

async function stateOf({ query }: TestServices, subscriptionId: string): Promise<QueueState> {
  const [state] = await query<QueueState & pg.QueryResultRow>(
    `SELECT is_backlogged AS "isBacklogged", opened_at IS NOT NULL AS "isOpen", publish_window AS "publishWindow",
       probe_wait_ms AS "probeWaitMs", (extract(epoch FROM next_sweep_at - now()) * 1000)::float8 AS "dueInMs"
     FROM subscription_states WHERE subscription_id = $1`,
    [subscriptionId],
  );
  if (state === undefined) throw new Error('no such subscription');
  return state;
}
