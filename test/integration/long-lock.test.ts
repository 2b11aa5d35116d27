import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startScene } from '../support/scene.ts';
import { lockTable } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

const EVENTS = 20;

it.concurrent.for(['SHARE', 'ACCESS EXCLUSIVE'] as const)(
  'while attempts is locked in mode %s, no request is sent again, and afterwards every delivery is recorded once',
  { timeout: 240_000 },
  async (mode, { onTestFinished }) => {
    const cleanUps = createCleanUps(onTestFinished);
    // The second program gets the redelivered messages.
    const scene = await startScene(cleanUps, { apps: 2 });
    const receiver = await scene.receive();
    await scene.app.subscribe({ url: receiver.url, maxInFlight: 100 });
    const unlock = await lockTable(scene.databaseUrl, { table: 'attempts', mode });
    await scene.publishMany('x', EVENTS);
    await receiver.waitForRequests(EVENTS);
    const isKept = () => scene.logLines.some((line) => line.includes('a lock in Postgres blocks them'));
    await waitFor(isKept, { what: 'a statement to time out' });
    await scene.waitForDeliveries(EVENTS, 'leased_until > now()');
    await scene.shortenAckWait('DELIVERIES', 'sender', 1_000);
    await waitFor(async () => (await scene.deliveredBy('DELIVERIES', 'sender')) >= 2 * EVENTS, {
      what: 'every message to be redelivered',
    });
    expect(await scene.countDeliveries(`status = 'PENDING' AND attempt_count = 0`)).toBe(EVENTS);
    await unlock();
    await scene.waitForDeliveries(EVENTS, `status = 'SUCCESS' AND attempt_count = 1 AND leased_until IS NULL`);
    await waitFor(async () => (await scene.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
    expect(receiver.requests).toHaveLength(EVENTS);
    expect(await scene.query('SELECT FROM attempts')).toHaveLength(EVENTS);
  },
);
