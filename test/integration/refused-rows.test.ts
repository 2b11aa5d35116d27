import { connect } from 'nats';
import { describe, expect, it } from 'vitest';
import { createDeliveryStatements } from '../../src/delivery/sending/delivery-statements.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { openTestDatabase } from '../support/database.ts';
import { seedDelivery } from '../support/graphql-api.ts';
import type { Receiver } from '../support/receiver.ts';
import { lockTable } from '../support/table-lock.ts';
import { TEST_SEAL } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

/** Makes Postgres reject the recording of attempts for which the condition is true. */
async function refuse(
  { query }: Pick<TestStack, 'query'>,
  { sqlState, when }: { readonly sqlState: string; readonly when: string },
): Promise<void> {
  await query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '${sqlState}'; END $$`);
  await query(`CREATE TRIGGER refuse BEFORE INSERT ON attempts FOR EACH ROW WHEN (${when}) EXECUTE FUNCTION refuse()`);
}

/** Creates two subscriptions: the receiver of one never answers and Postgres rejects its attempts; the other is sound. */
async function startPoisoned(sqlState: string) {
  const stack = await startTestStack(cleanUps);
  const poisoned = await stack.receive(() => 'reset');
  const sound = await stack.receive();
  await stack.app.subscribe({ url: poisoned.url, eventTypes: ['poison'], maxInFlight: 100 });
  const { id } = await stack.app.subscribe({ url: sound.url, eventTypes: ['sound'], maxInFlight: 100 });
  await refuse(stack, { sqlState, when: `NEW.event_type = 'poison'` });
  return { stack, poisoned, sound, soundId: id };
}

/** Makes one batch write the results of one poisoned and 50 sound deliveries: they wait behind a locked statement. */
async function deliverTogether(
  stack: TestStack,
  { poisoned, sound }: { readonly poisoned: Receiver; readonly sound: Receiver },
): Promise<void> {
  const unlock = await lockTable(stack.databaseUrl, { table: 'attempts', mode: 'SHARE' });
  try {
    await stack.publishMany('sound', 1);
    await waitFor(() => isWaitingForLock(stack), { what: 'the first result to wait' });
    await stack.publishMany('poison', 1);
    await poisoned.waitForRequests(1);
    await stack.publishMany('sound', 49);
    await sound.waitForRequests(50);
  } finally {
    await unlock();
  }
}

async function isWaitingForLock({ query }: TestStack): Promise<boolean> {
  return (await query('SELECT FROM pg_locks WHERE NOT granted')).length > 0;
}

/** Collects the ids of the deliveries that processes announce for the live log. */
async function listen({ nats }: TestStack): Promise<ReadonlySet<string>> {
  const connection = await connect({ servers: nats.url });
  cleanUps.push(() => connection.close());
  const announced = new Set<string>();
  connection.subscribe('log.*', {
    callback: (_error, message) => {
      const text = TEST_SEAL.open(message.subject, message.data)?.toString() ?? '{}';
      announced.add((JSON.parse(text) as { deliveryId: string }).deliveryId);
    },
  });
  // Reports a reader of the live log, like a process that has one.
  const read = () => {
    connection.publish('readers', TEST_SEAL.seal('readers', Buffer.from('reading')));
  };
  read();
  const reading = setInterval(read, 1_000);
  cleanUps.push(() => {
    clearInterval(reading);
    return Promise.resolve();
  });
  await connection.flush();
  return announced;
}

/** Number of sound attempts in the log with their complete response. */
const soundAttempts = async ({ query }: TestStack, soundId: string) =>
  (await query('SELECT FROM attempts WHERE subscription_id = $1 AND response_headers IS NOT NULL', [soundId])).length;

describe('an attempt that Postgres refuses to record', () => {
  it('affects no other attempt, and its delivery is postponed', async () => {
    const { stack, poisoned, sound, soundId } = await startPoisoned('XX001');
    const announced = await listen(stack);
    await deliverTogether(stack, { poisoned, sound });
    await stack.waitForDeliveries(50, `status = 'SUCCESS'`);
    await stack.waitForDeliveries(1, `status = 'PENDING' AND next_attempt_at > now() + interval '9 minutes'`);
    expect(sound.requests).toHaveLength(50);
    expect(await soundAttempts(stack, soundId)).toBe(50);
    await waitFor(() => announced.size === 50, { what: 'the attempts to be announced' });
    expect(poisoned.requests).toHaveLength(1);
  });

  it('with a transient error affects no other attempt, and is recorded once Postgres accepts it', async () => {
    const { stack, poisoned, sound, soundId } = await startPoisoned('40001');
    await deliverTogether(stack, { poisoned, sound });
    await stack.waitForDeliveries(50, `status = 'SUCCESS'`);
    expect(sound.requests).toHaveLength(50);
    expect(await soundAttempts(stack, soundId)).toBe(50);
    expect(poisoned.requests).toHaveLength(1);
    await stack.query('DROP TRIGGER refuse ON attempts');
    await stack.waitForDeliveries(1, `status = 'FAILURE' AND attempt_count = 3`);
    expect(poisoned.requests.map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '2', '3']);
  });

  it('because of its response is recorded without it', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive(() => ({ status: 200, body: 'poison' }));
    await stack.app.subscribe({ url: receiver.url });
    await refuse(stack, { sqlState: '22P05', when: `NEW.response_body = 'poison'` });
    await stack.publishMany('sound', 3);
    await stack.waitForDeliveries(3, `status = 'SUCCESS'`);
    expect(receiver.requests).toHaveLength(3);
    const attempts = await stack.query('SELECT status_code, response_headers, response_body FROM attempts');
    expect(attempts).toEqual(Array(3).fill({ status_code: 200, response_headers: null, response_body: null }));
  });

  it('with a transient error is retried for half a minute, and then its delivery is postponed', async () => {
    const { stack, poisoned } = await startPoisoned('40001');
    await stack.publishMany('poison', 1);
    await stack.waitForDeliveries(1, `status = 'PENDING' AND next_attempt_at > now() + interval '9 minutes'`);
    expect(poisoned.requests).toHaveLength(1);
  });
});

/** Inserts 20 pending deliveries. Postgres rejects every update of the third one. */
async function seedPoisoned() {
  const { database, close } = await openTestDatabase();
  cleanUps.push(close);
  const subscription = await database.prisma.webhookSubscription.create({
    data: { id: uuid7(Date.now()), tenant: 'acme', url: 'https://example.com/', eventTypes: ['*'] },
  });
  const seeds = Array.from({ length: 20 }, () =>
    seedDelivery(database, { subscriptionId: subscription.id, tenant: 'acme' }),
  );
  const ids = (await Promise.all(seeds)).map(({ id }) => id);
  await database.pool.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '58030'; END $$`);
  await database.pool.query(`CREATE TRIGGER refuse BEFORE UPDATE ON deliveries FOR EACH ROW
    WHEN (NEW.id = '${ids[2] ?? ''}') EXECUTE FUNCTION refuse()`);
  return { database, ids };
}

const statuses = (outcomes: readonly PromiseSettledResult<unknown>[]) => outcomes.map(({ status }) => status);
const ALL_BUT_THE_THIRD = Array.from({ length: 20 }, (_, index) => (index === 2 ? 'rejected' : 'fulfilled'));

it('a delivery that Postgres refuses to lease affects no other delivery', async () => {
  const { database, ids } = await seedPoisoned();
  const statements = createDeliveryStatements(database);
  const outcomes = await Promise.allSettled(
    ids.map((deliveryId) => statements.lease({ deliveryId, enqueueCount: 0, leaseMs: 60_000 })),
  );
  expect(statuses(outcomes)).toEqual(ALL_BUT_THE_THIRD);
  expect(outcomes[3]).toMatchObject({ value: { kind: 'leased' } });
});

it('a delivery that Postgres refuses to requeue affects no other delivery', async () => {
  const { database, ids } = await seedPoisoned();
  const statements = createDeliveryStatements(database);
  const outcomes = await Promise.allSettled(
    ids.map((deliveryId) => statements.requeueAtLimit({ deliveryId, enqueueCount: 0, reason: 'RATE_LIMITED' })),
  );
  expect(statuses(outcomes)).toEqual(ALL_BUT_THE_THIRD);
  const parked = await database.prisma.delivery.count({ where: { waitingFor: 'RATE_LIMITED' } });
  expect(parked).toBe(19);
});
