import { afterEach, expect, it } from 'vitest';
import { startEngineProcess } from '../support/engine-process.ts';
import { scrape } from '../support/metrics.ts';
import { type Scene, startScene } from '../support/scene.ts';
import { startTestApp } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const DIRECT = { DIRECT_DELIVERY: 'true' };
const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function attemptNumbers(scene: Scene): Promise<number[]> {
  const rows = await scene.query<{ number: number }>('SELECT number FROM attempts ORDER BY id');
  return rows.map(({ number }) => number);
}

it('a process sends the deliveries that it creates, and their retries, without messages in DELIVERIES', async () => {
  const scene = await startScene(cleanUps, { env: DIRECT });
  const receiver = await scene.receive((_, index) => ({ status: index === 0 ? 500 : 200 }));
  await scene.app.subscribe({ url: receiver.url });
  await scene.publishMany('one', 1);
  await scene.waitForDeliveries(1, `status = 'SUCCESS'`);
  expect(await attemptNumbers(scene)).toEqual([1, 2]);
  expect(await scene.storedIn('DELIVERIES')).toBe(0);
  // The first attempt, and the retry that the sweeper released.
  expect((await scrape(scene.app)).valueOf('webhooks_deliveries_direct_total')).toBe(2);
});

it('a stop requeues the direct deliveries that were not attempted, and the next process sends them once', async () => {
  const scene = await startScene(cleanUps, { env: DIRECT });
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const receiver = await scene.receive(async (_, index) => {
    if (index === 0) await answered;
    return { status: 200 };
  });
  await scene.app.subscribe({ url: receiver.url, maxInFlight: 1 });
  await scene.publishMany('many', 3);
  await receiver.waitForRequests(1);
  await scene.waitForDeliveries(3, 'true');
  const stopped = scene.app.stop();
  answer();
  await stopped;
  await scene.waitForDeliveries(1, `status = 'SUCCESS'`);
  await scene.waitForDeliveries(2, `status = 'PENDING' AND enqueued_at IS NULL`);
  const next = await startTestApp(scene, { env: DIRECT });
  cleanUps.push(() => next.stop());
  await scene.waitForDeliveries(3, `status = 'SUCCESS'`);
  expect(receiver.requests).toHaveLength(3);
});

it('after a kill -9 in an attempt the sweeper finds its direct delivery lost, and the attempt is made again', async () => {
  const scene = await startScene(cleanUps, { env: { ROLES: 'api' } });
  const receiver = await scene.receive((_, index) => (index === 0 ? 'hang' : { status: 200 }));
  await scene.app.subscribe({ url: receiver.url });
  const engine = await startEngineProcess(scene, DIRECT);
  await scene.publishMany('killed', 1);
  await receiver.waitForRequests(1);
  await waitFor(async () => (await scene.unackedBy('EVENTS', 'dispatcher')) === 0, { what: 'the event to be acked' });
  await engine.kill9();
  // The sweeper waits for a minute.
  await scene.query(`UPDATE deliveries SET enqueued_at = enqueued_at - interval '2 minutes'`);
  const next = await startEngineProcess(scene, DIRECT);
  cleanUps.push(async () => {
    await next.terminate();
  });
  await receiver.waitForRequests(2, 20_000);
  expect(receiver.requests.map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '1']);
  await scene.waitForDeliveries(1, `status = 'SUCCESS'`);
});
