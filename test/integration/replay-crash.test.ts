import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { type EngineProcess, startEngineProcess } from '../support/engine-process.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestServices, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

const EVENTS = 300;
const KILLS = 3;

const SUBSCRIBE = `mutation ($url: String!) { createWebhookSubscription(input: {
  tenant: "acme", url: $url, eventTypes: ["*"], maxInFlight: 100 }) { __typename } }`;
const START = `mutation { startReplay(input: { filter: { tenant: "acme" }, ratePerSecond: 60 }) {
  ... on StartReplayPayload { replay { id } } } }`;

type ReplayRow = { readonly status: string; readonly replayed: number; readonly skipped: number };

async function start(services: TestServices): Promise<EngineProcess> {
  const engine = await startEngineProcess(services);
  await services.shortenAckWait('EVENTS', 'dispatcher');
  await services.shortenAckWait('DELIVERIES', 'sender');
  return engine;
}

async function publishAll(services: TestServices, receiver: Receiver): Promise<void> {
  await Promise.all(
    Array.from({ length: EVENTS }, (_, n) => services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': `e${n}` })),
  );
  await receiver.waitForRequests(EVENTS);
}

it('a replay whose process is killed repeatedly continues at its position: no delivery is missing or created twice', async () => {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  const receiver = await startReceiver();
  cleanUps.push(() => receiver.close());
  let engine = await start(services);
  cleanUps.push(async () => {
    await engine.terminate();
  });
  await engine.graphql(SUBSCRIBE, { url: receiver.url });
  await publishAll(services, receiver);
  const done = async () => (await services.query(`SELECT FROM deliveries WHERE status = 'SUCCESS'`)).length;
  await waitFor(async () => (await done()) === EVENTS, { what: 'the first deliveries' });
  const { startReplay } = await engine.graphql<{ startReplay: { replay: { id: string } } }>(START);
  const { id } = startReplay.replay;
  const row = async (): Promise<ReplayRow> => {
    const [found] = await services.query<ReplayRow>(
      'SELECT status, replayed_count AS replayed, skipped_count AS skipped FROM replays WHERE id = $1',
      [id],
    );
    if (found === undefined) throw new Error('the replay is gone');
    return found;
  };
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const target = (kill * EVENTS) / (KILLS + 2);
    await waitFor(async () => (await row()).replayed >= target, { what: `${target} deliveries` });
    await engine.kill9();
    expect(await row()).toMatchObject({ status: 'RUNNING', skipped: 0 });
    engine = await start(services);
  }
  await waitFor(async () => (await row()).status === 'COMPLETED', { what: 'the end' });
  expect(await row()).toEqual({ status: 'COMPLETED', replayed: EVENTS, skipped: 0 });
  await waitFor(async () => (await done()) === 2 * EVENTS, { what: 'all deliveries' });
  const made = await services.query<{ events: number; deliveries: number }>(
    `SELECT count(DISTINCT event_id)::integer AS events, count(*)::integer AS deliveries
     FROM deliveries WHERE replay_id = $1`,
    [id],
  );
  expect(made).toEqual([{ events: EVENTS, deliveries: EVENTS }]);
});
