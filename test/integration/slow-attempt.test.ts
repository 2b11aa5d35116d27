import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestStack } from '../support/test-stack.ts';

const cleanUps = createCleanUps();

it('an attempt that takes longer than the ack wait is not started a second time', async () => {
  const stack = await startTestStack(cleanUps, { apps: 2, limits: { extendAfterMs: 1_000 } });
  await stack.shortenAckWait('DELIVERIES', 'sender', 6_000);
  const receiver = await stack.receive(async () => {
    await delay(8_000);
    return { status: 200 };
  });
  await stack.app.subscribe({ url: receiver.url, timeoutMs: 30_000 });
  await stack.publishMany('slow', 1);
  await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
  expect(await stack.deliveredBy('DELIVERIES', 'sender')).toBe(1);
  expect(receiver.requests).toHaveLength(1);
});
