import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createReceive } from '../support/receivers.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
const receive = createReceive();

// No retry happens during the test: each attempt belongs to a newly published event.
const ENV = { RETRY_SCHEDULE: '1h,1h' };

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services, { env: ENV });
});

afterAll(async () => {
  await app.stop();
  await services.stop();
});

afterEach(async () => {
  await services.query('UPDATE webhook_subscriptions SET is_active = false');
});

let tenants = 0;
const newTenant = () => `tenant-${(tenants += 1)}`;

type Told = { readonly type: string; readonly data: Readonly<Record<string, unknown>> };

/** Creates a subscription of the tenant to notices about its other subscriptions. */
async function watch(tenant: string) {
  const receiver = await receive();
  const { id, secret } = await app.subscribe({ tenant, url: receiver.url, eventTypes: ['webhook_subscription.*'] });
  // `as`: the program sends notices of this type.
  const told = () => receiver.requests.map(({ rawBody }) => JSON.parse(rawBody.toString()) as Told);
  return {
    id,
    receiver,
    secret,
    told,
    waitFor: (count: number) => waitFor(() => told().length >= count && told(), { what: `event ${count}` }),
  };
}

const publish = (tenant: string, count = 1) =>
  Promise.all(Array.from({ length: count }, () => services.publish(`events.${tenant}.ticket`, '{}')));

type Shown = {
  readonly isActive: boolean;
  readonly deactivationReason: string | null;
  readonly failingSince: string | null;
  readonly circuit: { readonly state: string; readonly openedAt: string | null; readonly nextProbeAt: string | null };
};

async function show(id: string): Promise<Shown> {
  const query = `query ($id: ID!) { webhookSubscription(id: $id) {
    isActive deactivationReason failingSince circuit { state openedAt nextProbeAt } } }`;
  return (await app.graphql<{ webhookSubscription: Shown }>(query, { id })).webhookSubscription;
}

const isOpen = (id: string) =>
  waitFor(async () => (await show(id)).circuit.state === 'OPEN', { what: 'the circuit to open' });
const isClosed = (id: string) =>
  waitFor(async () => (await show(id)).circuit.state === 'CLOSED', { what: 'the circuit to close' });

const probeNow = (id: string) =>
  services.query(
    `UPDATE subscription_states SET probe_at = now(), next_sweep_at = now()
     WHERE subscription_id = $1 AND opened_at IS NOT NULL`,
    [id],
  );

const attemptsOf = async (id: string) =>
  (await services.query('SELECT FROM attempts WHERE subscription_id = $1', [id])).length;

/** Moves the first failure `days` days into the past, makes one more failing attempt, and evaluates the circuit. */
async function failAfter(days: number, { id, tenant }: { readonly id: string; readonly tenant: string }) {
  // A sent notice is moved into the past by the same time as the first failure.
  await services.query(
    `UPDATE subscription_states
     SET failing_since = now() - $2 * interval '1 day',
       noticed_at = noticed_at - (failing_since - (now() - $2 * interval '1 day'))
     WHERE subscription_id = $1`,
    [id, days],
  );
  const before = await attemptsOf(id);
  await publish(tenant);
  await waitFor(
    async () => {
      await probeNow(id);
      return (await attemptsOf(id)) > before;
    },
    { what: 'an attempt' },
  );
  // A stopping program first evaluates the circuits that it has not evaluated.
  await app.stop();
  app = await startTestApp(services, { env: ENV });
  // Messages in transit to the stopped program are redelivered.
  await services.shortenAckWait('DELIVERIES', 'sender');
}

const statusesOf = async (id: string) =>
  (
    await services.query<{ status: string }>('SELECT DISTINCT status FROM deliveries WHERE subscription_id = $1', [id])
  ).map(({ status }) => status);

const typesSentTo = async (id: string) =>
  (
    await services.query<{ type: string }>(
      'SELECT DISTINCT event_type AS type FROM deliveries WHERE subscription_id = $1',
      [id],
    )
  ).map(({ type }) => type);

/** The system events that were recorded for the tenant. */
const recorded = async (tenant: string) =>
  (
    await services.query<{ type: string }>(
      `SELECT type FROM events WHERE tenant = $1 AND type LIKE 'webhook\\_subscription.%' ORDER BY id`,
      [tenant],
    )
  ).map(({ type }) => type.replace('webhook_subscription.', ''));

/** Creates a subscription and opens its circuit. */
async function failing(tenant: string, url: string) {
  const { id } = await app.subscribe({ tenant, url, eventTypes: ['ticket'] });
  await publish(tenant, 10);
  await isOpen(id);
  return { id, tenant, url };
}

describe('a subscription that keeps failing', () => {
  it('causes a notice when its circuit opens and at 50, 70 and 90 % of five days, and is deactivated at the end', async () => {
    const tenant = newTenant();
    const watcher = await watch(tenant);
    const { url } = await receive(() => ({ status: 500 }));
    const subscription = await failing(tenant, url);
    const { id } = subscription;
    const [opened] = await watcher.waitFor(1);
    const { failingSince, circuit } = await show(id);
    expect(opened).toMatchObject({
      type: 'webhook_subscription.failing',
      data: { subscriptionId: id, host: new URL(url).host, failingSince, progressPercent: 0 },
    });
    expect(Date.parse(String(opened?.data['deactivationAt'])) - Date.parse(String(failingSince))).toBe(5 * 86_400_000);
    expect(Date.parse(String(circuit.nextProbeAt)) - Date.parse(String(circuit.openedAt))).toBe(30_000);
    for (const [days, count] of [
      [2.4, 1],
      [2.6, 2],
      [2.7, 2],
      [3.6, 3],
      [3.7, 3],
      [4.6, 4],
      [4.7, 4],
    ] as const) {
      await failAfter(days, subscription);
      expect(await recorded(tenant), `after ${days} days`).toHaveLength(count);
    }
    expect(await show(id)).toMatchObject({ isActive: true, deactivationReason: null });
    await failAfter(5.2, subscription);
    const told = await watcher.waitFor(5);
    const progress = told.map(({ data }) => data['progressPercent'] ?? data['reason']);
    expect(progress.toSorted()).toEqual([0, 50, 70, 90, 'FAILING']);
    expect(told.find(({ type }) => type === 'webhook_subscription.deactivated')?.data).toEqual({
      subscriptionId: id,
      host: new URL(url).host,
      reason: 'FAILING',
    });
    expect(await show(id)).toEqual({
      isActive: false,
      deactivationReason: 'FAILING',
      failingSince: null,
      circuit: { state: 'CLOSED', openedAt: null, nextProbeAt: null },
    });
    await waitFor(async () => (await statusesOf(id)).join() === 'CANCELLED', {
      what: 'what is pending to be cancelled',
    });
    expect(await recorded(tenant)).toEqual(['failing', 'failing', 'failing', 'failing', 'deactivated']);
  });

  it('with little traffic causes a notice half a day before its deactivation', async () => {
    const tenant = newTenant();
    const watcher = await watch(tenant);
    const { url } = await receive(() => ({ status: 500 }));
    const subscription = await failing(tenant, url);
    await failAfter(7, subscription);
    const [, last] = await watcher.waitFor(2);
    expect(last).toMatchObject({ type: 'webhook_subscription.failing', data: { progressPercent: 90 } });
    const leftMs = Date.parse(String(last?.data['deactivationAt'])) - Date.now();
    // Half a day, minus the time since the notice.
    expect(leftMs).toBeLessThanOrEqual(12 * 3_600_000);
    expect(leftMs).toBeGreaterThan(11.9 * 3_600_000);
    await failAfter(7.4, subscription);
    expect(await recorded(tenant)).toEqual(['failing', 'failing']);
    expect((await show(subscription.id)).isActive).toBe(true);
    await failAfter(7.6, subscription);
    expect(await recorded(tenant)).toEqual(['failing', 'failing', 'deactivated']);
    expect(await show(subscription.id)).toMatchObject({ isActive: false, deactivationReason: 'FAILING' });
  });

  it('is not deactivated before the notice at 90 %, which waits while its tenant has reached the limit of notices', async () => {
    const tenant = newTenant();
    const { url } = await receive(() => ({ status: 500 }));
    const subscription = await failing(tenant, url);
    const setLimit = (from: string, count: number) =>
      services.query(
        `UPDATE notice_limits SET minute_from = now() + $2::interval, count = $3, omitted_count = 0 WHERE tenant = $1`,
        [tenant, from, count],
      );
    await setLimit('1 hour', 10);
    for (const days of [3.6, 4.6, 6]) await failAfter(days, subscription);
    expect(await recorded(tenant)).toEqual(['failing']);
    expect((await show(subscription.id)).isActive).toBe(true);
    await setLimit('-1 hour', 0);
    await failAfter(6.1, subscription);
    expect(await recorded(tenant)).toEqual(['failing', 'failing']);
    await failAfter(6.7, subscription);
    expect(await recorded(tenant)).toEqual(['failing', 'failing', 'deactivated']);
  });

  it('causes no notice and no deactivation before its circuit opens, and then at once a notice of its progress', async () => {
    const tenant = newTenant();
    const watcher = await watch(tenant);
    const { url } = await receive(() => ({ status: 500 }));
    const { id } = await app.subscribe({ tenant, url, eventTypes: ['ticket'] });
    await publish(tenant);
    await waitFor(async () => (await show(id)).failingSince, { what: 'the first failure' });
    await failAfter(6, { id, tenant });
    expect(await recorded(tenant)).toEqual([]);
    expect((await show(id)).isActive).toBe(true);
    await publish(tenant, 10);
    await isOpen(id);
    expect((await watcher.waitFor(1))[0]).toMatchObject({ data: { progressPercent: 90 } });
    await failAfter(6.4, { id, tenant });
    expect((await show(id)).isActive).toBe(true);
  });

  it('causes a notice when it recovers, and gets its waiting deliveries', async () => {
    const tenant = newTenant();
    const watcher = await watch(tenant);
    let status = 500;
    const receiver = await receive(() => ({ status }));
    const { id } = await failing(tenant, receiver.url);
    await watcher.waitFor(1);
    const { failingSince } = await show(id);
    const before = receiver.requests.length;
    status = 200;
    await publish(tenant, 5);
    await waitFor(
      async () => {
        await probeNow(id);
        return receiver.requests.length > before;
      },
      { what: 'a probe' },
    );
    const told = await watcher.waitFor(2);
    expect(told[1]).toMatchObject({
      type: 'webhook_subscription.recovered',
      data: { subscriptionId: id, host: new URL(receiver.url).host, failingSince },
    });
    await receiver.waitForRequests(before + 5);
    expect(await show(id)).toMatchObject({ failingSince: null, circuit: { state: 'CLOSED', nextProbeAt: null } });
    expect(await recorded(tenant)).toEqual(['failing', 'recovered']);
  });

  it('gets no notice about itself, other tenants get none, and notices are signed like every event', async () => {
    const tenant = newTenant();
    const [watcher, stranger] = [await watch(tenant), await watch(newTenant())];
    const failed = await receive(() => ({ status: 500 }));
    const { id } = await app.subscribe({ tenant, url: failed.url, eventTypes: ['ticket', 'webhook_subscription.*'] });
    await publish(tenant, 10);
    await watcher.waitFor(1);
    const [request] = watcher.receiver.requests;
    const headers = request?.headers as Record<string, string>;
    new Webhook(watcher.secret).verify(request?.rawBody ?? '', headers);
    expect(headers).toMatchObject({ 'webhook-event': 'webhook_subscription.failing', 'webhook-attempt': '1' });
    expect(await typesSentTo(id)).toEqual(['ticket']);
    expect(await typesSentTo(stranger.id)).toEqual([]);
  });

  it('two that fail at the same time, and get notices about each other, both open, once each, in either of two programs', async () => {
    const second = await startTestApp(services, { env: { ...ENV, ROLES: 'sender' } });
    const tenant = newTenant();
    const { url } = await receive(() => ({ status: 503 }));
    const [one, other] = await Promise.all([
      app.subscribe({ tenant, url, eventTypes: ['ticket', 'webhook_subscription.*'], maxInFlight: 40 }),
      app.subscribe({ tenant, url, eventTypes: ['ticket', 'webhook_subscription.*'], maxInFlight: 40 }),
    ]);
    await publish(tenant, 40);
    await Promise.all([isOpen(one.id), isOpen(other.id)]);
    // Then every attempt of both is recorded or its delivery waits behind a circuit: no evaluation is pending.
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'the senders to be done' });
    await second.stop();
    expect(await recorded(tenant)).toEqual(['failing', 'failing']);
  });
});

describe('410 Gone', () => {
  it('deactivates the subscription, ends the delivery, cancels the others, and causes a notice', async () => {
    const tenant = newTenant();
    const [watcher, stranger] = [await watch(tenant), await watch(newTenant())];
    let isGone = false;
    const receiver = await receive(() => ({ status: isGone ? 410 : 500 }));
    const { id } = await app.subscribe({ tenant, url: receiver.url, eventTypes: ['ticket'] });
    await publish(tenant, 3);
    await waitFor(async () => (await attemptsOf(id)) === 3, { what: 'three failures' });
    isGone = true;
    await publish(tenant);
    const [told] = await watcher.waitFor(1);
    expect(told?.type).toBe('webhook_subscription.deactivated');
    expect(told?.data).toEqual({ subscriptionId: id, host: new URL(receiver.url).host, reason: 'GONE' });
    expect(await show(id)).toMatchObject({ isActive: false, deactivationReason: 'GONE' });
    await publish(tenant);
    await waitFor(async () => (await statusesOf(id)).toSorted().join() === 'CANCELLED,FAILURE', { what: 'the end' });
    await waitFor(async () => (await services.query('SELECT FROM events WHERE tenant = $1', [tenant])).length === 6, {
      what: 'all events',
    });
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'the sender to be done' });
    expect(receiver.requests).toHaveLength(4);
    expect(await typesSentTo(stranger.id)).toEqual([]);
  });
});

describe('an owner who repairs an endpoint', () => {
  it('by changing its URL starts over: the circuit is closed, and waiting deliveries are sent to the new URL', async () => {
    const tenant = newTenant();
    const broken = await receive(() => ({ status: 500 }));
    const { id } = await failing(tenant, broken.url);
    await publish(tenant, 3);
    const repaired = await receive();
    const before = broken.requests.length;
    await update(id, { url: repaired.url });
    expect(await show(id)).toMatchObject({ failingSince: null, circuit: { state: 'CLOSED' } });
    await repaired.waitForRequests(3);
    expect(broken.requests).toHaveLength(before);
  });

  it('by changing its URL during an attempt is not deactivated by the 410 of the former URL', async () => {
    const tenant = newTenant();
    let answer: () => void = () => undefined;
    const former = await receive(async () => {
      await new Promise<void>((resolve) => (answer = resolve));
      return { status: 410 };
    });
    const { id } = await app.subscribe({ tenant, url: former.url, eventTypes: ['ticket'] });
    await publish(tenant);
    await former.waitForRequests(1);
    const present = await receive();
    await update(id, { url: present.url });
    answer();
    await waitFor(async () => (await statusesOf(id)).join() === 'FAILURE', { what: 'the end of the delivery' });
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'the sender to be done' });
    await publish(tenant);
    await present.waitForRequests(1);
    expect(await show(id)).toMatchObject({ isActive: true, deactivationReason: null });
  });

  it('by activating it again starts over, and the reason is removed', async () => {
    const tenant = newTenant();
    const receiver = await receive((_request, index) => ({ status: index === 0 ? 410 : 200 }));
    const { id } = await app.subscribe({ tenant, url: receiver.url, eventTypes: ['ticket'] });
    await publish(tenant);
    await waitFor(async () => (await show(id)).deactivationReason === 'GONE', { what: 'deactivation' });
    await update(id, { isActive: true });
    expect(await show(id)).toMatchObject({ isActive: true, deactivationReason: null });
    await publish(tenant);
    await receiver.waitForRequests(2);
  });

  it('by retrying a delivery through an open circuit closes it; a test event, which is sent as well, does not', async () => {
    const tenant = newTenant();
    let status = 500;
    const receiver = await receive(() => ({ status }));
    const { id } = await failing(tenant, receiver.url);
    status = 200;
    const before = receiver.requests.length;
    await sendTest(id);
    await receiver.waitForRequests(before + 1);
    expect(await show(id)).toMatchObject({ circuit: { state: 'OPEN' } });
    await retry((await waitingDelivery(id)).id);
    await isClosed(id);
    expect(await recorded(tenant)).toEqual(['failing', 'recovered']);
  });
});

it('a notice to more than a hundred subscriptions leaves the others to the sweeper, and reaches all of them', async () => {
  const tenant = newTenant();
  const gone = await receive(() => ({ status: 410 }));
  await app.subscribe({ tenant, url: gone.url, eventTypes: ['ticket'] });
  const receiver = await receive();
  for (let count = 0; count < 130; count += 1) {
    await app.subscribe({ tenant, url: receiver.url, eventTypes: ['webhook_subscription.*'] });
  }
  await publish(tenant);
  await receiver.waitForRequests(130);
  const again = `SELECT count(*)::integer AS count FROM deliveries WHERE tenant = $1 AND enqueue_count > 1`;
  expect(await services.query(again, [tenant])).toEqual([{ count: 30 }]);
});

it('a failed probe waits for the next probe like other deliveries, even if its backoff is short', async () => {
  await app.stop();
  app = await startTestApp(services, { env: { RETRY_SCHEDULE: '100ms,100ms,100ms,100ms' } });
  const tenant = newTenant();
  const receiver = await receive(() => ({ status: 500 }));
  const { id } = await failing(tenant, receiver.url);
  const { id: deliveryId, attemptCount } = await waitingDelivery(id);
  await retry(deliveryId);
  const query = 'query ($id: ID!) { delivery(id: $id) { attemptCount waitingFor nextAttemptAt } }';
  const { delivery } = await waitFor(
    async () => {
      const found = await app.graphql<{ delivery: Record<string, unknown> }>(query, { id: deliveryId });
      return (
        found.delivery['attemptCount'] === attemptCount + 1 && found.delivery['waitingFor'] === 'CIRCUIT_OPEN' && found
      );
    },
    { what: 'the retried delivery to wait' },
  );
  expect(delivery).toMatchObject({ nextAttemptAt: (await show(id)).circuit.nextProbeAt });
});

async function update(id: string, input: Record<string, unknown>): Promise<void> {
  const mutation = `mutation ($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
    updateWebhookSubscription(id: $id, input: $input) { __typename ... on Error { message } } }`;
  expect(await app.graphql(mutation, { id, input })).toEqual({
    updateWebhookSubscription: { __typename: 'UpdateWebhookSubscriptionPayload' },
  });
}

type Waiting = { readonly id: string; readonly attemptCount: number };

/** Returns a delivery of the subscription that waits behind the open circuit. */
async function waitingDelivery(subscriptionId: string): Promise<Waiting> {
  const sql = `SELECT id, attempt_count AS "attemptCount" FROM deliveries
    WHERE subscription_id = $1 AND status = 'PENDING' AND enqueued_at IS NULL LIMIT 1`;
  const find = async () => (await services.query<Waiting>(sql, [subscriptionId]))[0] ?? false;
  return waitFor(find, { what: 'a delivery that waits' });
}

async function retry(id: string): Promise<void> {
  await app.graphql('mutation ($id: ID!) { retryDelivery(id: $id) { __typename } }', { id });
}

async function sendTest(subscriptionId: string): Promise<string> {
  const mutation = `mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) {
    ... on SendTestEventPayload { delivery { id } } } }`;
  type Sent = { readonly sendTestEvent: { readonly delivery: { readonly id: string } } };
  return (await app.graphql<Sent>(mutation, { id: subscriptionId })).sendTestEvent.delivery.id;
}
