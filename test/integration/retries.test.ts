import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Receiver, type Respond, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
const receivers: Receiver[] = [];

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services);
});

afterAll(async () => {
  await app.stop();
  await services.stop();
  await Promise.all(receivers.map((receiver) => receiver.close()));
});

type Delivery = {
  readonly status: string;
  readonly attemptCount: number;
  readonly waitingFor: string | null;
  readonly nextAttemptAt: string | null;
};

const DELIVERIES = `query ($id: ID!) { deliveries(filter: { subscriptionIds: [$id] }) { edges { node {
  status attemptCount waitingFor nextAttemptAt } } } }`;

/** Delivers one event to a receiver with these responses, and returns the delivery after `attemptCount` attempts. */
async function deliveryAfter(attemptCount: number, respond: Respond): Promise<Delivery & { nextInMs: number }> {
  const receiver = await startReceiver(respond);
  receivers.push(receiver);
  const { id } = await app.subscribe({ url: receiver.url, eventTypes: [`retry-${receivers.length}`] });
  await services.publish(`events.acme.retry-${receivers.length}`, '{}');
  return waitFor(
    async () => {
      const { deliveries } = await app.graphql<{ deliveries: { edges: { node: Delivery }[] } }>(DELIVERIES, { id });
      const delivery = deliveries.edges[0]?.node;
      if (delivery?.attemptCount !== attemptCount) return false;
      return { ...delivery, nextInMs: Date.parse(delivery.nextAttemptAt ?? '') - Date.now() };
    },
    { what: `${attemptCount} attempts` },
  );
}

it('a longer wait requested by a receiver is observed, and the delivery shows its wait reason', async () => {
  const inAnHour = new Date(Date.now() + 3_600_000).toUTCString();
  const delivery = await deliveryAfter(1, () => ({ status: 503, headers: { 'Retry-After': inAnHour } }));
  expect(delivery).toMatchObject({ status: 'PENDING', waitingFor: 'RETRY_AFTER' });
  expect(delivery.nextInMs).toBeGreaterThan(3_580_000);
  expect(delivery.nextInMs).toBeLessThanOrEqual(3_960_000);
});

it('an overloaded receiver is retried soon once, and then not for a minute', async () => {
  const delivery = await deliveryAfter(2, () => ({ status: 429 }));
  expect(delivery).toMatchObject({ status: 'PENDING', waitingFor: 'BACKOFF' });
  expect(delivery.nextInMs).toBeGreaterThan(50_000);
  expect(delivery.nextInMs).toBeLessThanOrEqual(66_000);
});

it('a 410 ends the delivery at once', async () => {
  expect(await deliveryAfter(1, () => ({ status: 410 }))).toMatchObject({
    status: 'FAILURE',
    waitingFor: null,
    nextAttemptAt: null,
  });
});
