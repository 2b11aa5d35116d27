import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { lockTable } from '../support/table-lock.ts';
import { startTestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const EVENTS = 20;

it.concurrent.for(['SHARE', 'ACCESS EXCLUSIVE'] as const)(
  'while attempts is locked in mode %s, no request is sent again, and afterwards every delivery is recorded once',
  { timeout: 240_000 },
  async (mode, { onTestFinished }) => {
    const cleanUps = createCleanUps(onTestFinished);
    // The second program gets the redelivered messages.
    const stack = await startTestStack(cleanUps, { apps: 2 });
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url, maxInFlight: 100 });
    const unlock = await lockTable(stack.databaseUrl, { table: 'attempts', mode });
    await stack.publishMany('x', EVENTS);
    await receiver.waitForRequests(EVENTS);
    const isKept = () => stack.logLines.some((line) => line.includes('a lock in Postgres blocks them'));
    await waitFor(isKept, { what: 'a statement to time out' });
    await stack.waitForDeliveries(EVENTS, 'leased_until > now()');
    await stack.shortenAckWait('DELIVERIES', 'sender', 1_000);
    await waitFor(async () => (await stack.deliveredBy('DELIVERIES', 'sender')) >= 2 * EVENTS, {
      what: 'every message to be redelivered',
    });
    expect(await stack.countDeliveries(`status = 'PENDING' AND attempt_count = 0`)).toBe(EVENTS);
    await unlock();
    await stack.waitForDeliveries(EVENTS, `status = 'SUCCESS' AND attempt_count = 1 AND leased_until IS NULL`);
    await waitFor(async () => (await stack.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
    expect(receiver.requests).toHaveLength(EVENTS);
    expect(await stack.query('SELECT FROM attempts')).toHaveLength(EVENTS);
  },
);
