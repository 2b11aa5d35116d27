import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { type EngineProcess, startEngineProcess } from '../support/engine-process.ts';
import { scrape } from '../support/metrics.ts';
import { startReceiver } from '../support/receiver.ts';
import { ADMIN_API_KEY, startTestServices, subscribe, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

type LogLine = { readonly msg: string; readonly pid: number; readonly worker?: number };

function linesOf(engine: EngineProcess): LogLine[] {
  const lines = engine.output().split('\n');
  // `as`: every line of the log is an object with these fields; other output has no brace.
  return lines.filter((line) => line.startsWith('{') && line.endsWith('}')).map((line) => JSON.parse(line) as LogLine);
}

/** The process ids of the newest ready worker of each number. */
function workerPids(engine: EngineProcess): Map<number, number> {
  const ready = linesOf(engine).filter(({ msg, worker }) => msg === 'ready' && worker !== undefined);
  return new Map(ready.map(({ worker = 0, pid }) => [worker, pid]));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function start(services: TestServices): Promise<EngineProcess> {
  const engine = await startEngineProcess(services, { WORKERS: '2' });
  cleanUps.push(() => engine.terminate());
  return engine;
}

/** Starts a receiver that answers after 50 ms and counts its concurrent requests. */
async function startSlowReceiver(): Promise<{ readonly url: string; readonly mostAtOnce: () => number }> {
  let atOnce = 0;
  let most = 0;
  const receiver = await startReceiver(async () => {
    atOnce += 1;
    most = Math.max(most, atOnce);
    await delay(50);
    atOnce -= 1;
    return { status: 200 };
  });
  cleanUps.push(() => receiver.close());
  return { url: receiver.url, mostAtOnce: () => most };
}

async function attemptsCounted(engine: EngineProcess): Promise<number> {
  const { valueOf } = await scrape({ url: engine.url, adminApiKey: ADMIN_API_KEY });
  return valueOf('webhooks_attempts_total', { status: 'SUCCESS', failure_reason: 'none', code: '2xx' }) ?? 0;
}

async function partsOf(engine: EngineProcess): Promise<Record<string, unknown>> {
  return (await (await fetch(`${engine.url}/health/ready`)).json()) as Record<string, unknown>;
}

type ListedProcess = {
  readonly pid: number;
  readonly worker: number | null;
  readonly roles: readonly string[];
  readonly health: { readonly isReady: boolean } | null;
};

async function processesOf(engine: EngineProcess): Promise<readonly ListedProcess[]> {
  const query = '{ server { processes { nodes { pid worker roles health { isReady } } } } }';
  const { server } = await engine.graphql<{ server: { processes: { nodes: ListedProcess[] } } }>(query);
  return server.processes.nodes;
}

/** The processes by their numbers; the main process has none. */
const byWorker = (listed: readonly ListedProcess[]) => listed.toSorted((a, b) => (a.worker ?? 0) - (b.worker ?? 0));

it('two workers deliver; killing one or the main process loses nothing, leaves no orphan, and SIGTERM stops all', async () => {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  const receiver = await startReceiver(() => ({ status: 200 }));
  cleanUps.push(() => receiver.close());
  let published = 0;
  const publish = async (count: number) => {
    published += count;
    await Promise.all(Array.from({ length: count }, () => services.publish('events.acme.order.created', '{}')));
  };
  const untilDelivered = () =>
    waitFor(
      async () => {
        const [row] = await services.query<{ count: number }>(
          `SELECT count(*)::integer AS count FROM deliveries WHERE status = 'SUCCESS'`,
        );
        return row?.count === published;
      },
      // A message that was lost with its process is found a minute after its publication.
      { what: `${published} deliveries` },
    );

  const engine = await start(services);
  await subscribe(engine.graphql, { url: receiver.url, maxInFlight: 100 });
  await publish(40);
  await untilDelivered();
  expect(await attemptsCounted(engine)).toBe(40);
  const attempted = linesOf(engine).filter(({ msg }) => msg === 'delivery.attempted');
  expect(attempted.map(({ worker }) => worker).filter((worker) => worker !== 1 && worker !== 2)).toEqual([]);
  expect(attempted).toHaveLength(40);

  const pidOf = workerPids(engine);
  const health = { isReady: true };
  const roles = ['dispatcher', 'sender'];
  expect(byWorker(await processesOf(engine))).toEqual([
    { pid: expect.any(Number) as unknown, worker: null, roles: ['api'], health },
    { pid: pidOf.get(1), worker: 1, roles, health },
    { pid: pidOf.get(2), worker: 2, roles, health },
  ]);

  const slow = await startSlowReceiver();
  await subscribe(engine.graphql, { tenant: 'other', url: slow.url, maxInFlight: 6 });
  published += 60;
  await Promise.all(Array.from({ length: 60 }, () => services.publish('events.other.slow', '{}')));
  await untilDelivered();
  expect(slow.mostAtOnce()).toBeLessThanOrEqual(6);
  expect(slow.mostAtOnce()).toBeGreaterThan(3);

  // Redeliver messages of a killed worker earlier.
  await services.shortenAckWait('EVENTS', 'dispatcher');
  await services.shortenAckWait('DELIVERIES', 'sender');
  const [number, first] = [...workerPids(engine)][0] ?? [0, 0];
  await publish(150);
  process.kill(first, 'SIGKILL');
  await publish(150);
  await untilDelivered();
  await waitFor(() => [...workerPids(engine).values()].every((pid) => pid !== first), { what: 'the restarted worker' });
  expect(linesOf(engine).filter(({ msg }) => msg === 'worker process ended; restarting')).toMatchObject([
    { worker: number, signal: 'SIGKILL' },
  ]);
  await waitFor(async () => (await partsOf(engine))['workers'], { what: 'the health of the workers' });
  expect(await partsOf(engine)).toMatchObject({ workers: { ok: true } });
  await waitFor(async () => (await processesOf(engine)).length === 4, { what: 'the restarted worker in the list' });
  const silent = (await processesOf(engine)).filter((listed) => listed.health === null);
  expect(silent).toEqual([{ pid: first, worker: number, roles, health: null }]);
  // The sum keeps the attempts that the killed worker had counted at the last scrape.
  expect(await attemptsCounted(engine)).toBeGreaterThanOrEqual(40);

  const orphans = [...workerPids(engine).values()];
  await publish(150);
  await engine.kill9();
  await waitFor(() => !orphans.some(isRunning), { what: 'the end of the workers' });

  const next = await start(services);
  await publish(20);
  await untilDelivered();
  const pids = [...workerPids(next).values()];
  expect(pids).toHaveLength(2);
  expect(await next.terminate()).toBe(0);
  expect(pids.some(isRunning)).toBe(false);
  expect(linesOf(next).filter(({ msg }) => msg === 'stopped')).toHaveLength(3);
});
