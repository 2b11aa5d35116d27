import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { deliveriesOf, deliveryWith, logOf } from '../support/deliveries.ts';
import { createReceive } from '../support/receivers.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
const receive = createReceive();

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services);
});

afterAll(async () => {
  await app.stop();
  await services.stop();
});

afterEach(async () => {
  await services.query('UPDATE webhook_subscriptions SET is_active = false');
});

describe('failed attempts', () => {
  it('after a 500 the attempt count grows and the delivery is PENDING, then FAILURE when the schedule ends', async () => {
    let goOn: () => void = () => undefined;
    const wasSeen = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const receiver = await receive(async (_, index) => {
      if (index > 0) await wasSeen;
      return { status: 500, body: 'broken' };
    });
    const { id } = await app.subscribe({ url: receiver.url, timeoutMs: 30_000 });
    await services.publish('events.acme.conversation.created', '{}', { 'Nats-Msg-Id': 'fails' });
    const pending = await waitFor(
      async () => (await deliveriesOf(services, id)).find((row) => row.attemptCount === 1),
      {
        what: 'the first attempt',
      },
    );
    goOn();
    expect(pending).toMatchObject({ status: 'PENDING', waitingFor: 'BACKOFF' });
    expect(pending.nextAttemptAt).toBeInstanceOf(Date);
    const failed = await deliveryWith(services, id, 'FAILURE');
    expect(failed).toMatchObject({ attemptCount: 3, nextAttemptAt: null, waitingFor: null });
    expect(receiver.requests.map(({ headers }) => [headers['webhook-id'], headers['webhook-attempt']])).toEqual([
      ['fails', '1'],
      ['fails', '2'],
      ['fails', '3'],
    ]);
    const log = await logOf(app, id);
    expect(
      log.map(({ number, status, failureReason, statusCode, responseBody }) => [
        number,
        status,
        failureReason,
        statusCode,
        responseBody,
      ]),
    ).toEqual([
      [3, 'FAILURE', 'HTTP_STATUS', 500, 'broken'],
      [2, 'FAILURE', 'HTTP_STATUS', 500, 'broken'],
      [1, 'FAILURE', 'HTTP_STATUS', 500, 'broken'],
    ]);
  });

  it('a 503 is retried under the same webhook-id until a 2xx', async () => {
    const receiver = await receive((_, index) => ({ status: index === 0 ? 503 : 200 }));
    const { id, secret } = await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.conversation.created', '{}', { 'Nats-Msg-Id': 'recovers' });
    expect(await deliveryWith(services, id, 'SUCCESS')).toMatchObject({ attemptCount: 2 });
    expect(receiver.requests.map(({ headers }) => headers['webhook-id'])).toEqual(['recovers', 'recovers']);
    for (const { rawBody, headers } of receiver.requests) {
      new Webhook(secret).verify(rawBody.toString(), headers as Record<string, string>);
    }
  });

  it('a refused connection is a failed attempt with its own reason', async () => {
    const receiver = await receive();
    await receiver.close();
    const { id } = await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.conversation.created', '{}');
    await deliveryWith(services, id, 'FAILURE');
    expect(await logOf(app, id)).toMatchObject(
      Array(3).fill({ status: 'FAILURE', failureReason: 'CONNECTION_REFUSED', statusCode: null }),
    );
  });

  it('an attempt to a target slower than 5 s fails with a timeout', async () => {
    const receiver = await receive(() => 'hang');
    const { id } = await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.conversation.created', '{}');
    const [attempt] = await waitFor(async () => (await logOf(app, id)).length > 0 && logOf(app, id), {
      what: 'the attempt',
    });
    expect(attempt).toMatchObject({ number: 1, status: 'FAILURE', failureReason: 'TIMEOUT', statusCode: null });
    expect(attempt?.['responseTimeMs']).toBeGreaterThan(4_900);
    expect(attempt?.['responseTimeMs']).toBeLessThan(9_000);
    expect((await deliveriesOf(services, id))[0]?.status).toBe('PENDING');
  });

  it('a delivery with an unreadable secret is queued for later, does not block others, and counts no attempt', async () => {
    const receiver = await receive();
    const broken = await app.subscribe({ url: `${receiver.url}/broken` });
    const sound = await app.subscribe({ url: `${receiver.url}/sound` });
    await services.query(`UPDATE signing_secrets SET encrypted_secret = 'v1.0.0.0' WHERE subscription_id = $1`, [
      broken.id,
    ]);
    await services.publish('events.acme.conversation.created', '{}');
    await deliveryWith(services, sound.id, 'SUCCESS');
    const [delivery] = await waitFor(
      async () => {
        const rows = await deliveriesOf(services, broken.id);
        return Number(rows[0]?.nextAttemptAt) > Date.now() + 500_000 && rows;
      },
      { what: 'the delivery to be put off' },
    );
    expect(delivery).toMatchObject({ status: 'PENDING', attemptCount: 0 });
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'its message to be gone' });
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/sound']);
    await app.graphql('mutation ($id: ID!) { deleteWebhookSubscription(id: $id) { __typename } }', { id: broken.id });
  });

  it('a retry uses the current settings', async () => {
    const after = await receive();
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const before = await receive(async () => {
      await answered;
      return { status: 500 };
    });
    const { id } = await app.subscribe({ url: before.url, timeoutMs: 30_000 });
    await services.publish('events.acme.conversation.created', '{}');
    await before.waitForRequests(1);
    await app.graphql(
      `mutation ($id: ID!, $url: String!) { updateWebhookSubscription(id: $id, input: { url: $url }) { __typename } }`,
      { id, url: after.url },
    );
    answer();
    const [retry] = await after.waitForRequests(1);
    expect(retry?.headers['webhook-attempt']).toBe('2');
    expect(before.requests).toHaveLength(1);
  });

  it('deactivating a subscription cancels waiting deliveries, and nothing more is sent', async () => {
    // The wait of 4 s ends only after the subscription is deactivated.
    const receiver = await receive(() => ({ status: 503, headers: { 'Retry-After': '4' } }));
    const { id } = await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.conversation.created', '{}');
    await waitFor(async () => (await deliveriesOf(services, id))[0]?.waitingFor === 'RETRY_AFTER', {
      what: 'the wait',
    });
    await app.graphql(
      'mutation ($id: ID!) { updateWebhookSubscription(id: $id, input: { isActive: false }) { __typename } }',
      { id },
    );
    // Cancelled at once, before its message is redelivered.
    expect(await deliveriesOf(services, id)).toMatchObject([{ status: 'CANCELLED', attemptCount: 1 }]);
    const sent = receiver.requests.length;
    // The sender acks the message of the cancelled delivery when it is redelivered.
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'an empty DELIVERIES' });
    expect(receiver.requests).toHaveLength(sent);
  });
});

describe('cancelling', () => {
  it('does not discard an attempt in flight: it is logged and counted, and a success counts as a success', async () => {
    for (const { status, expected } of [
      { status: 500, expected: { status: 'CANCELLED', attemptCount: 1, nextAttemptAt: null } },
      { status: 200, expected: { status: 'SUCCESS', attemptCount: 1, nextAttemptAt: null } },
    ]) {
      let answer: () => void = () => undefined;
      const answered = new Promise<void>((resolve) => {
        answer = resolve;
      });
      const receiver = await receive(async () => {
        await answered;
        return { status };
      });
      const { id } = await app.subscribe({ url: receiver.url, timeoutMs: 30_000 });
      await services.publish('events.acme.conversation.created', '{}');
      await receiver.waitForRequests(1);
      await app.graphql('mutation ($id: ID!) { deleteWebhookSubscription(id: $id) { __typename } }', { id });
      expect(await deliveriesOf(services, id)).toMatchObject([{ status: 'CANCELLED', attemptCount: 0 }]);
      answer();
      await waitFor(async () => (await logOf(app, id)).length === 1, { what: 'the attempt in the log' });
      expect(await deliveriesOf(services, id)).toMatchObject([expected]);
    }
  });
});
