import { describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { scrape } from '../support/metrics.ts';
import type { Receiver, Respond } from '../support/receiver.ts';
import { startTestStack, type TestStack, type TestStackOptions } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

const LONG = { env: { RETRY_SCHEDULE: '30s,10h' } };
const NEVER = { env: { RETRY_SCHEDULE: '10h' } };
const UNKNOWN_ID = '01a20159-2fa4-72b7-abff-abd08ae48306';

type Result = {
  readonly __typename: string;
  readonly code?: string;
  readonly message?: string;
  readonly delivery?: { readonly id: string; readonly status: string; readonly attemptCount: number };
};
type Mutation = 'retryDelivery' | 'cancelDelivery';

async function mutate({ app }: Pick<TestStack, 'app'>, mutation: Mutation, id: string): Promise<Result> {
  const payload = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}Payload`;
  const result = await app.graphql<Record<Mutation, Result>>(
    `mutation ($id: ID!) { ${mutation}(id: $id) {
       __typename ... on ${payload} { delivery { id status attemptCount } } ... on Error { code message } } }`,
    { id },
  );
  return result[mutation];
}

type Sent = TestStack & { readonly receiver: Receiver; readonly subscriptionId: string; readonly deliveryId: string };

/** Publishes an event to a receiver with these responses. */
async function send(respond: Respond, options: TestStackOptions = LONG): Promise<Sent> {
  const stack = await startTestStack(cleanUps, options);
  const receiver = await stack.receive(respond);
  const { id: subscriptionId } = await stack.app.subscribe({ url: receiver.url, timeoutMs: 30_000 });
  await stack.publish('events.acme.a', '{}');
  const deliveryId = await waitFor(
    async () => (await stack.query<{ id: string }>('SELECT id FROM deliveries'))[0]?.id,
    { what: 'the delivery' },
  );
  return { ...stack, receiver, subscriptionId, deliveryId };
}

/** A response that waits until the test calls `answer`. */
function heldAnswer(): { readonly answer: () => void; readonly answered: Promise<void> } {
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  return { answer, answered };
}

async function activate(
  { app }: Pick<TestStack, 'app'>,
  variables: { readonly id: string; readonly isActive: boolean },
): Promise<void> {
  await app.graphql(
    `mutation ($id: ID!, $isActive: Boolean!) {
       updateWebhookSubscription(id: $id, input: { isActive: $isActive }) { __typename } }`,
    variables,
  );
}

const attemptsAt = ({ receiver }: Sent) => receiver.requests.map(({ headers }) => headers['webhook-attempt']);
const isWaiting = (sent: Sent) => sent.waitForDeliveries(1, `attempt_count = 1 AND next_attempt_at > now()`);

describe('a retry', () => {
  it.each([
    ['in JetStream', '30s,10h'],
    ['in Postgres', '10h'],
  ])('of a delivery that waits %s is attempted at once, with the next number, and once only', async (_, schedule) => {
    const { answer, answered } = heldAnswer();
    const respond: Respond = async (_request, index) => {
      if (index > 0) await answered;
      return { status: index === 0 ? 500 : 200 };
    };
    const sent = await send(respond, { env: { RETRY_SCHEDULE: schedule } });
    await isWaiting(sent);
    const [first, second] = await Promise.all([
      mutate(sent, 'retryDelivery', sent.deliveryId),
      mutate(sent, 'retryDelivery', sent.deliveryId),
    ]);
    expect([first.delivery?.id, second.delivery?.id]).toEqual([sent.deliveryId, sent.deliveryId]);
    answer();
    await sent.waitForDeliveries(1, `status = 'SUCCESS' AND attempt_count = 2`);
    expect(attemptsAt(sent)).toEqual(['1', '2']);
  });

  it('does not change a delivery that is being attempted', async () => {
    const { answer, answered } = heldAnswer();
    const sent = await send(async (_request, index) => {
      if (index === 1) await answered;
      return { status: index === 0 ? 500 : 200 };
    }, NEVER);
    await isWaiting(sent);
    await mutate(sent, 'retryDelivery', sent.deliveryId);
    await sent.receiver.waitForRequests(2);
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ delivery: { status: 'PENDING' } });
    const enqueueCount = await sent.query<{ count: number }>('SELECT enqueue_count AS count FROM deliveries');
    answer();
    await sent.waitForDeliveries(1, `status = 'SUCCESS'`);
    expect(enqueueCount).toEqual([{ count: 2 }]);
    expect(attemptsAt(sent)).toEqual(['1', '2']);
  });

  it('does not change a delivery whose first attempt is being made', async () => {
    const { answer, answered } = heldAnswer();
    const sent = await send(async () => {
      await answered;
      return { status: 200 };
    });
    await sent.receiver.waitForRequests(1);
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ delivery: { attemptCount: 0 } });
    answer();
    await sent.waitForDeliveries(1, `status = 'SUCCESS' AND enqueue_count = 1`);
    expect(attemptsAt(sent)).toEqual(['1']);
  });

  it('of a failed delivery is one more attempt each time, after the end of the schedule', async () => {
    const sent = await send((_request, index) => ({ status: index < 3 ? 500 : 200 }), {
      env: { RETRY_SCHEDULE: '1ms' },
    });
    await sent.waitForDeliveries(1, `status = 'FAILURE' AND attempt_count = 2`);
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ delivery: { id: sent.deliveryId } });
    await sent.waitForDeliveries(1, `status = 'FAILURE' AND attempt_count = 3 AND completed_at IS NOT NULL`);
    await mutate(sent, 'retryDelivery', sent.deliveryId);
    await sent.waitForDeliveries(1, `status = 'SUCCESS' AND attempt_count = 4`);
    expect(attemptsAt(sent)).toEqual(['1', '2', '3', '4']);
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ code: 'DELIVERY_NOT_RETRYABLE' });
  });

  it('goes through an open circuit, whose success closes it', async () => {
    let status = 500;
    const sent = await send(() => ({ status }), NEVER);
    await sent.publishMany('a', 19);
    await waitFor(async () => (await sent.stateOf(sent.subscriptionId)).isOpen, { what: 'the circuit to open' });
    await sent.waitForDeliveries(20, 'attempt_count = 1');
    status = 200;
    await mutate(sent, 'retryDelivery', sent.deliveryId);
    await sent.waitForDeliveries(1, `status = 'SUCCESS'`);
    expect(sent.receiver.requests).toHaveLength(21);
    await waitFor(async () => !(await sent.stateOf(sent.subscriptionId)).isOpen, { what: 'the circuit to close' });
  });

  it('that a limit delays is attempted once there is room, even during a pause', async () => {
    const { answer, answered } = heldAnswer();
    const stack = await startTestStack(cleanUps, NEVER);
    const receiver = await stack.receive(async (_request, index) => {
      if (index === 2) await answered;
      return { status: index < 2 ? 500 : 200 };
    });
    const { id } = await stack.app.subscribe({ url: receiver.url, maxInFlight: 1, timeoutMs: 30_000 });
    await stack.publishMany('a', 2);
    await stack.waitForDeliveries(2, 'attempt_count = 1 AND next_attempt_at > now()');
    await stack.app.graphql('mutation ($id: ID!) { pauseWebhookSubscription(id: $id) { __typename } }', { id });
    const deliveries = await stack.query<{ id: string }>('SELECT id FROM deliveries');
    for (const delivery of deliveries) await mutate(stack, 'retryDelivery', delivery.id);
    await stack.waitForDeliveries(
      1,
      `waiting_for = 'IN_FLIGHT_LIMIT' AND enqueued_at IS NOT NULL AND next_attempt_at > now() AND attempt_count = 1`,
    );
    // It counts as in flight: another retry publishes no second message.
    for (const delivery of deliveries) await mutate(stack, 'retryDelivery', delivery.id);
    await stack.waitForDeliveries(2, 'enqueue_count = 2');
    const redelivered = async () =>
      (await scrape(stack.app)).valueOf('webhooks_messages_redelivered_total', { consumer: 'sender' });
    await waitFor(async () => ((await redelivered()) ?? 0) > 0, { what: 'the second message to be redelivered' });
    answer();
    await stack.waitForDeliveries(2, `status = 'SUCCESS' AND attempt_count = 2`);
    expect(receiver.requests).toHaveLength(4);
  });

  it('is recorded while NATS is unavailable, and attempted after the outage', async () => {
    const sent = await send((_request, index) => ({ status: index === 0 ? 500 : 200 }), NEVER);
    await isWaiting(sent);
    await sent.nats.kill9();
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ delivery: { status: 'PENDING' } });
    expect(await sent.countDeliveries('next_attempt_at <= now() AND enqueued_at IS NULL')).toBe(1);
    await sent.nats.start();
    await sent.waitForDeliveries(1, `status = 'SUCCESS' AND attempt_count = 2`);
    expect(attemptsAt(sent)).toEqual(['1', '2']);
  });

  it('is rejected if the event or an active subscription is missing', async () => {
    const sent = await send(() => ({ status: 500 }), { env: { RETRY_SCHEDULE: '1ms' } });
    await sent.waitForDeliveries(1, `status = 'FAILURE'`);
    expect(await mutate(sent, 'retryDelivery', UNKNOWN_ID)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await mutate(sent, 'retryDelivery', 'none')).toMatchObject({ code: 'NOT_FOUND' });
    await sent.query('UPDATE webhook_subscriptions SET is_active = false');
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ code: 'SUBSCRIPTION_INACTIVE' });
    await sent.query('UPDATE webhook_subscriptions SET is_active = true, deleted_at = now()');
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ code: 'SUBSCRIPTION_INACTIVE' });
    await sent.query('UPDATE webhook_subscriptions SET deleted_at = NULL');
    await sent.query('DELETE FROM events');
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ code: 'DELIVERY_NOT_RETRYABLE' });
    expect(await sent.countDeliveries(`status = 'FAILURE'`)).toBe(1);
  });
});

describe('cancelling', () => {
  it('ends a waiting delivery, and its message in JetStream is dropped on arrival', async () => {
    const sent = await send(() => ({ status: 500 }), { env: { RETRY_SCHEDULE: '4s' } });
    await isWaiting(sent);
    expect(await sent.waitingIn('DELIVERIES')).toBe(1);
    expect(await mutate(sent, 'cancelDelivery', sent.deliveryId)).toMatchObject({ delivery: { status: 'CANCELLED' } });
    await waitFor(async () => (await sent.waitingIn('DELIVERIES')) === 0, { what: 'the message to be gone' });
    expect(attemptsAt(sent)).toEqual(['1']);
    expect(await mutate(sent, 'cancelDelivery', sent.deliveryId)).toMatchObject({ delivery: { status: 'CANCELLED' } });
    expect(await mutate(sent, 'retryDelivery', sent.deliveryId)).toMatchObject({ code: 'DELIVERY_NOT_RETRYABLE' });
  });

  it('prevents a first attempt that a sender has not started', async () => {
    const stack = await startTestStack(cleanUps, LONG);
    const { answer, answered } = heldAnswer();
    const receiver = await stack.receive(async () => {
      await answered;
      return { status: 200 };
    });
    await stack.app.subscribe({ url: receiver.url, maxInFlight: 1, timeoutMs: 30_000 });
    await stack.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'one' });
    await receiver.waitForRequests(1);
    await stack.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'two' });
    // A sender has its message, and would send it without a query to Postgres when the first attempt ends.
    await waitFor(async () => (await stack.unackedBy('DELIVERIES', 'sender')) === 2, { what: 'the second message' });
    const [second] = await stack.query<{ id: string }>(
      `SELECT d.id FROM deliveries d JOIN events e ON e.id = d.event_id WHERE e.event_id = 'two'`,
    );
    // Senders are notified of the id in lower case.
    await mutate(stack, 'cancelDelivery', second?.id.toUpperCase() ?? '');
    answer();
    await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
    await waitFor(async () => (await stack.waitingIn('DELIVERIES')) === 0, { what: 'both messages to be gone' });
    expect(await stack.countDeliveries(`status = 'CANCELLED' AND attempt_count = 0`)).toBe(1);
    expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).toEqual(['one']);
  });

  it('by deactivating the subscription is permanent, even if it is activated again before a sender starts', async () => {
    const stack = await startTestStack(cleanUps, LONG);
    const [first, later] = [heldAnswer(), heldAnswer()];
    const receiver = await stack.receive(async (_request, index) => {
      await (index === 0 ? first : later).answered;
      return { status: 200 };
    });
    const { id } = await stack.app.subscribe({ url: receiver.url, maxInFlight: 1, timeoutMs: 30_000 });
    await stack.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'one' });
    await receiver.waitForRequests(1);
    await stack.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'two' });
    await waitFor(async () => (await stack.unackedBy('DELIVERIES', 'sender')) === 2, { what: 'the second message' });
    await activate(stack, { id, isActive: false });
    await stack.waitForDeliveries(2, `status = 'CANCELLED'`);
    await activate(stack, { id, isActive: true });
    first.answer();
    await waitFor(async () => (await stack.waitingIn('DELIVERIES')) === 0, { what: 'both messages to be gone' });
    expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).toEqual(['one']);
    await stack.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'three' });
    await receiver.waitForRequests(2);
    // The subscription has not changed, so the sender made no query to Postgres.
    expect(await stack.countDeliveries(`status = 'PENDING' AND leased_until IS NULL`)).toBe(1);
    later.answer();
    await stack.waitForDeliveries(
      1,
      `status = 'SUCCESS' AND event_id IN (SELECT id FROM events WHERE event_id = 'three')`,
    );
  });

  it.each([
    [200, 'SUCCESS'],
    [500, 'CANCELLED'],
  ])('lets a running attempt complete: after a %i the delivery is %s', async (status, expected) => {
    const { answer, answered } = heldAnswer();
    const sent = await send(async () => {
      await answered;
      return { status };
    });
    await sent.receiver.waitForRequests(1);
    expect(await mutate(sent, 'cancelDelivery', sent.deliveryId)).toMatchObject({ delivery: { status: 'CANCELLED' } });
    answer();
    await sent.waitForDeliveries(1, `status = '${expected}' AND attempt_count = 1`);
    expect(await sent.countDeliveries('next_attempt_at IS NULL AND enqueued_at IS NULL')).toBe(1);
  });

  it('is rejected for an ended or unknown delivery', async () => {
    const sent = await send(() => ({ status: 200 }));
    await sent.waitForDeliveries(1, `status = 'SUCCESS'`);
    expect(await mutate(sent, 'cancelDelivery', sent.deliveryId)).toMatchObject({ code: 'DELIVERY_NOT_PENDING' });
    expect(await mutate(sent, 'cancelDelivery', UNKNOWN_ID)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await mutate(sent, 'cancelDelivery', 'none')).toMatchObject({ code: 'NOT_FOUND' });
  });
});
