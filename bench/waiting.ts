import type { Context, Outcome } from './measurement.ts';
import { readUsages } from './processes.ts';
import type { Stack } from './stack.ts';
import { measureFor, publishFor, startTraffic } from './start-traffic.ts';
import { cellsOf } from './traffic.ts';

const WAITING = 1_000_000;
const CHUNK = 50_000;
const SUBSCRIPTIONS = 50;
const PER_SECOND = 100;
const WARM_UP_MS = 3_000;
const MIN_SECONDS = 8;

/** Measures the latency of new deliveries, alone and beside many deliveries that wait for their retries. */
export async function measureWaiting({ report, size, startStack }: Context): Promise<Outcome> {
  const waiting = size(WAITING);
  const ms = Math.max(MIN_SECONDS, size(30)) * 1_000;
  const stack = await startStack();
  const traffic = await startTraffic(stack, { tenant: 'fresh', subscriptions: SUBSCRIPTIONS, perSecond: PER_SECOND });
  await publishFor(traffic, WARM_UP_MS);
  report('fresh deliveries alone');
  const alone = await measureFor(traffic, ms);
  const before = await readUsages();
  await fill(stack, { waiting, report });
  report(`fresh deliveries beside ${waiting} that wait`);
  await publishFor(traffic, WARM_UP_MS);
  const beside = await measureFor(traffic, ms);
  const after = await readUsages();
  const ratio = beside.p95 / alone.p95;
  const memoryOf = (kind: 'program' | 'nats-server') => ({
    alone: before[kind]?.memoryMiB ?? 0,
    beside: after[kind]?.memoryMiB ?? 0,
  });
  const memory = { program: memoryOf('program'), natsServer: memoryOf('nats-server') };
  return {
    tables: [
      [
        { 'fresh deliveries': 'alone', ...cellsOf(alone) },
        { 'fresh deliveries': `beside ${waiting} waiting`, ...cellsOf(beside) },
      ],
      Object.entries(memory).map(([name, mib]) => ({
        'memory, MiB': name,
        alone: mib.alone.toFixed(0),
        beside: mib.beside.toFixed(0),
      })),
    ],
    figures: { waiting, alone, beside, ratio, memory },
    targets: [{ name: 'waiting: p95 beside those that wait / alone', value: ratio, atMost: 1.25 }],
  };
}

/** Inserts deliveries that failed once and are due in one to nine hours, for 100 subscriptions with closed circuits. */
async function fill(
  { query }: Stack,
  { waiting, report }: { readonly waiting: number; readonly report: Context['report'] },
): Promise<void> {
  await query(`INSERT INTO webhook_subscriptions (id, tenant, url, event_types)
    SELECT gen_random_uuid(), 'waiting', 'http://127.0.0.1:1', ARRAY['waiting'] FROM generate_series(1, 100)`);
  for (let done = 0; done < waiting; done += CHUNK) {
    if (done % (5 * CHUNK) === 0) report(`${done} of ${waiting} wait`);
    await query(
      `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, attempt_count, next_attempt_at, waiting_for)
       SELECT uuidv7(), 'waiting', id, uuidv7(), 'waiting', 1, now() + (1 + 8 * random()) * interval '1 hour', 'BACKOFF'
       FROM webhook_subscriptions, generate_series(1, $1 / 100) WHERE tenant = 'waiting'`,
      [Math.min(CHUNK, waiting - done)],
    );
  }
  await query(`UPDATE subscription_states SET next_sweep_at = now() + interval '1 hour'
    WHERE subscription_id IN (SELECT id FROM webhook_subscriptions WHERE tenant = 'waiting')`);
  await query('ANALYZE deliveries');
}
