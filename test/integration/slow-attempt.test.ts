import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startScene } from '../support/scene.ts';

const cleanUps = createCleanUps();

it('an attempt that takes longer than the ack wait is not started a second time', async () => {
  const scene = await startScene(cleanUps, { apps: 2, limits: { extendAfterMs: 1_000 } });
  await scene.shortenAckWait('DELIVERIES', 'sender', 6_000);
  const receiver = await scene.receive(async () => {
    await delay(8_000);
    return { status: 200 };
  });
  await scene.app.subscribe({ url: receiver.url, timeoutMs: 30_000 });
  await scene.publishMany('slow', 1);
  await scene.waitForDeliveries(1, `status = 'SUCCESS'`);
  expect(await scene.deliveredBy('DELIVERIES', 'sender')).toBe(1);
  expect(receiver.requests).toHaveLength(1);
});
