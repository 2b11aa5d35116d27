import { connect, type JetStreamManager } from 'nats';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Scene, startScene } from '../support/scene.ts';

const cleanUps: (() => Promise<void>)[] = [];
let scene: Scene;
let jsm: JetStreamManager;

beforeEach(async () => {
  scene = await startScene(cleanUps);
  const connection = await connect({ servers: scene.nats.url });
  cleanUps.push(() => connection.close());
  jsm = await connection.jetstreamManager();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

it('there is one for each stream, however many subscriptions there are', async () => {
  const receiver = await scene.receive();
  for (let index = 0; index < 20; index += 1) await scene.app.subscribe({ url: receiver.url });
  await scene.publishMany('x', 1);
  await receiver.waitForRequests(20);
  for (const [stream, consumer] of [
    ['EVENTS', 'dispatcher'],
    ['DELIVERIES', 'sender'],
  ] as const) {
    const consumers = await jsm.consumers.list(stream).next();
    expect(consumers.map(({ name }) => name)).toEqual([consumer]);
  }
});

it('those that are deleted while they are read are created again; nothing is lost, or sent twice', async () => {
  const receiver = await scene.receive();
  await scene.app.subscribe({ url: receiver.url });
  await scene.publishMany('x', 10);
  await scene.waitForDeliveries(10, `status = 'SUCCESS'`);
  await jsm.consumers.delete('EVENTS', 'dispatcher');
  await jsm.consumers.delete('DELIVERIES', 'sender');
  await scene.publishMany('x', 10);
  // The next check is half a minute after the last one.
  await scene.waitForDeliveries(20, `status = 'SUCCESS'`, 60_000);
  expect(receiver.requests).toHaveLength(20);
}, 90_000);
