import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services, { env: { RETRY_SCHEDULE: '1d' } });
});

afterAll(async () => {
  await app.stop();
  await services.stop();
});

// Nothing listens on this port. The tests need no successful attempts.
const url = 'http://127.0.0.1:4';
let tenants = 0;
const newTenant = () => `tenant-${(tenants += 1)}`;

type Node = {
  readonly subscription: { readonly id: string };
  readonly result: string;
  readonly delivery: { readonly id: string; readonly subscription: { readonly id: string } } | null;
};
type Page = {
  readonly edges: readonly { readonly cursor: string; readonly node: Node }[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly hasPreviousPage: boolean };
};

const QUERY = `query ($id: ID!, $tenant: String, $first: Int, $after: String, $last: Int, $before: String) {
  event(id: $id, tenant: $tenant) { considered(first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { subscription { id } result delivery { id subscription { id } } } }
    pageInfo { hasNextPage hasPreviousPage }
  } }
}`;

async function pageOf(id: string, page: Readonly<Record<string, unknown>> = {}): Promise<Page> {
  return (await app.graphql<{ event: { considered: Page } }>(QUERY, { id, ...page })).event.considered;
}

/** Returns the result for each subscription. */
async function resultsOf(eventId: string): Promise<Record<string, string>> {
  const { edges } = await pageOf(eventId);
  for (const { node } of edges) {
    if (node.delivery !== null) expect(node.delivery.subscription.id).toBe(node.subscription.id);
  }
  return Object.fromEntries(edges.map(({ node }) => [node.subscription.id, node.result]));
}

/** Publishes an event with a new id, waits until it is written, and returns the id. */
async function publish(tenant: string, type: string, data = '{}'): Promise<string> {
  const id = uuid7(Date.now());
  await services.publish(`events.${tenant}.${type}`, data, { 'Nats-Msg-Id': id });
  const isWritten = async () => (await services.query('SELECT FROM events WHERE event_id = $1', [id])).length === 1;
  await waitFor(isWritten, { what: 'the event' });
  return id;
}

const update = (id: string, input: Record<string, unknown>) =>
  app.graphql(
    `mutation ($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
      updateWebhookSubscription(id: $id, input: $input) { __typename }
    }`,
    { id, input },
  );
const remove = (id: string) =>
  app.graphql('mutation ($id: ID!) { deleteWebhookSubscription(id: $id) { __typename } }', { id });
const subscribe = async (tenant: string, input: Record<string, unknown> = {}) =>
  (await app.subscribe({ tenant, url, eventTypes: ['order.*'], ...input })).id;

type Delivered = {
  readonly code?: string;
  readonly skippedCount?: number;
  readonly deliveries?: readonly { readonly id: string }[];
};

async function deliver(subscriptionId: string, eventIds: readonly string[]): Promise<Delivered> {
  const mutation = `mutation ($input: DeliverEventsInput!) { deliverEvents(input: $input) {
    ... on DeliverEventsPayload { skippedCount deliveries { id status isTest event { id } replay { id } } }
    ... on Error { code }
  } }`;
  const variables = { input: { subscriptionId, eventIds } };
  return (await app.graphql<{ deliverEvents: Delivered }>(mutation, variables)).deliverEvents;
}

describe('an event', () => {
  it('shows for each subscription of its tenant why it was or was not delivered', async () => {
    const tenant = newTenant();
    const [gold, free] = [{ plan: 'gold' }, { plan: 'free' }];
    const expected = {
      [await subscribe(tenant)]: 'DELIVERED_TO',
      [await subscribe(tenant, { filter: gold })]: 'DELIVERED_TO',
      [await subscribe(tenant, { filter: free })]: 'FILTER_FALSE',
      [await subscribe(tenant, { eventTypes: ['order', 'orders.*'] })]: 'TYPE_MISMATCH',
      [await subscribe(tenant, { eventTypes: ['a'], filter: free })]: 'TYPE_MISMATCH',
      [await subscribe(tenant, { isActive: false })]: 'INACTIVE',
      [await subscribe(tenant, { isActive: false, eventTypes: ['a'], filter: free })]: 'INACTIVE',
    };
    await remove(await subscribe(tenant));
    await subscribe(newTenant());
    const event = await publish(tenant, 'order.paid', JSON.stringify(gold));
    expect(await resultsOf(event)).toEqual(expected);
    const { edges } = await pageOf(event);
    expect(edges.map(({ node }) => node.subscription.id)).toEqual(Object.keys(expected).sort().reverse());
    expect(edges.map(({ node }) => node.delivery !== null)).toEqual(
      edges.map(({ node }) => node.result === 'DELIVERED_TO'),
    );
  });

  it('is delivered later to a subscription that did not match it, once while that delivery is pending', async () => {
    const tenant = newTenant();
    const subscription = await subscribe(tenant, { filter: { plan: 'gold' } });
    const [inactive, foreign] = [await subscribe(tenant, { isActive: false }), await subscribe(newTenant())];
    const event = await publish(tenant, 'order.paid', JSON.stringify({ plan: 'free' }));
    const eventIds = [event, event, 'unknown', '01a20159-2fa4-72b7-abff-abd08ae48306'];
    const [delivery] = (await deliver(subscription, eventIds)).deliveries ?? [];
    expect(delivery).toMatchObject({ event: { id: event }, status: 'PENDING', isTest: false, replay: null });
    await waitFor(
      async () => (await services.query('SELECT FROM attempts WHERE delivery_id = $1', [delivery?.id])).length > 0,
      { what: 'an attempt' },
    );
    expect(await resultsOf(event)).toMatchObject({ [subscription]: 'DELIVERED_TO' });
    expect(await deliver(foreign, [event])).toEqual({ deliveries: [], skippedCount: 1 });
    expect(await deliver(inactive, [event])).toMatchObject({ code: 'SUBSCRIPTION_INACTIVE' });
    expect(await deliver(subscription, [])).toMatchObject({ code: 'INVALID_INPUT' });
    expect(
      await deliver(
        subscription,
        Array.from({ length: 201 }, (_, index) => `e-${index}`),
      ),
    ).toMatchObject({ code: 'INVALID_INPUT' });
    expect(await deliver(subscription, ['\0'])).toMatchObject({ code: 'INVALID_INPUT' });
    // The delivery fails and waits for its next attempt.
    expect(await deliver(subscription, [event])).toEqual({ deliveries: [], skippedCount: 1 });
  });

  it('shows the same results after any later change, creation or deletion', async () => {
    const tenant = newTenant();
    const first = await publish(tenant, 'order.paid');
    const ids = {
      deactivated: await subscribe(tenant),
      activated: await subscribe(tenant, { isActive: false }),
      narrowed: await subscribe(tenant),
      widened: await subscribe(tenant, { eventTypes: ['a'] }),
      filtered: await subscribe(tenant),
      unfiltered: await subscribe(tenant, { filter: { never: 1 } }),
      deleted: await subscribe(tenant, { filter: { never: 1 } }),
      moved: await subscribe(tenant, { eventTypes: ['a'] }),
    };
    const second = await publish(tenant, 'order.paid');
    const before = await resultsOf(second);
    await update(ids.deactivated, { isActive: false });
    await update(ids.activated, { isActive: true });
    await update(ids.narrowed, { eventTypes: ['a'] });
    await update(ids.widened, { eventTypes: ['*'] });
    await update(ids.filtered, { filter: { never: 1 } });
    await update(ids.unfiltered, { filter: null });
    await remove(ids.deleted);
    await update(ids.moved, { url: `${url}/other`, timeoutMs: 2_000 });
    const made = await subscribe(tenant);
    const third = await publish(tenant, 'order.paid');
    expect(await resultsOf(first)).toEqual({});
    expect(await resultsOf(second)).toEqual(before);
    expect(before).toEqual({
      [ids.deactivated]: 'DELIVERED_TO',
      [ids.activated]: 'INACTIVE',
      [ids.narrowed]: 'DELIVERED_TO',
      [ids.widened]: 'TYPE_MISMATCH',
      [ids.filtered]: 'DELIVERED_TO',
      [ids.unfiltered]: 'FILTER_FALSE',
      [ids.deleted]: 'FILTER_FALSE',
      [ids.moved]: 'TYPE_MISMATCH',
    });
    expect(await resultsOf(third)).toEqual({
      [ids.deactivated]: 'INACTIVE',
      [ids.activated]: 'DELIVERED_TO',
      [ids.narrowed]: 'TYPE_MISMATCH',
      [ids.widened]: 'DELIVERED_TO',
      [ids.filtered]: 'FILTER_FALSE',
      [ids.unfiltered]: 'DELIVERED_TO',
      [ids.moved]: 'TYPE_MISMATCH',
      [made]: 'DELIVERED_TO',
    });
  });

  it('that was sent to one named subscription shows only that one', async () => {
    const tenant = newTenant();
    const [tested] = [await subscribe(tenant, { eventTypes: ['a'], filter: { never: 1 } }), await subscribe(tenant)];
    const { sendTestEvent } = await app.graphql<{ sendTestEvent: { delivery: { event: { id: string } } } }>(
      `mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) {
        ... on SendTestEventPayload { delivery { event { id } } } } }`,
      { id: tested },
    );
    expect(await resultsOf(sendTestEvent.delivery.event.id)).toEqual({ [tested]: 'DELIVERED_TO' });
  });

  it('that was delivered to a subscription later counts as delivered to it', async () => {
    const tenant = newTenant();
    const inactive = await subscribe(tenant, { isActive: false });
    const active = await subscribe(tenant);
    const event = await publish(tenant, 'order.paid');
    const younger = await subscribe(tenant);
    const [{ delivery } = { delivery: null }] = (await pageOf(event)).edges
      .map(({ node }) => node)
      .filter(({ subscription }) => subscription.id === active);
    for (const subscriptionId of [inactive, active, younger]) {
      await services.query(
        `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status)
         SELECT $1, tenant, $2, id, type, 'SUCCESS' FROM events WHERE event_id = $3`,
        [uuid7(Date.now() + 1_000), subscriptionId, event],
      );
    }
    const all = [inactive, active, younger];
    expect(await resultsOf(event)).toEqual(Object.fromEntries(all.map((id) => [id, 'DELIVERED_TO'])));
    const { edges } = await pageOf(event);
    expect(edges.map(({ node }) => node.delivery === null)).toEqual([false, false, false]);
    // The first delivery, created when the event was dispatched.
    expect(edges.find(({ node }) => node.subscription.id === active)?.node.delivery).toEqual(delivery);
  });

  it('still shows that it was delivered after the delivery was deleted', async () => {
    const tenant = newTenant();
    const id = await subscribe(tenant, { filter: { plan: 'gold' } });
    const event = await publish(tenant, 'order.paid', '{"plan":"gold"}');
    await services.query('DELETE FROM deliveries WHERE subscription_id = $1', [id]);
    const { edges } = await pageOf(event);
    expect(edges.map(({ node }) => node)).toEqual([{ subscription: { id }, result: 'DELIVERED_TO', delivery: null }]);
  });

  it('whose data was redacted shows whether a filter matched only if a delivery is kept', async () => {
    const tenant = newTenant();
    const [gold, free] = [{ plan: 'gold' }, { plan: 'free' }];
    const deleted = await subscribe(tenant, { filter: gold });
    const expected = {
      [await subscribe(tenant)]: 'DELIVERED_TO',
      [await subscribe(tenant, { filter: gold })]: 'DELIVERED_TO',
      [deleted]: 'DATA_REDACTED',
      [await subscribe(tenant, { filter: free })]: 'DATA_REDACTED',
      [await subscribe(tenant, { eventTypes: ['a'], filter: free })]: 'TYPE_MISMATCH',
      [await subscribe(tenant, { isActive: false, filter: free })]: 'INACTIVE',
    };
    const id = await publish(tenant, 'order.paid', JSON.stringify(gold));
    await app.graphql(
      'mutation ($id: ID!, $tenant: String!) { redactEvent(id: $id, tenant: $tenant) { __typename } }',
      { id, tenant },
    );
    await services.query('DELETE FROM deliveries WHERE subscription_id = $1', [deleted]);
    expect(await resultsOf(id)).toEqual(expected);
  });

  it('shows its results in pages, in both directions', async () => {
    const tenant = newTenant();
    const ids: string[] = [];
    for (let index = 0; index < 7; index += 1) ids.push(await subscribe(tenant, { isActive: index % 2 === 0 }));
    const event = await publish(tenant, 'order.paid');
    ids.sort().reverse();
    const idsOf = ({ edges }: Page) => edges.map(({ node }) => node.subscription.id);
    const first = await pageOf(event, { first: 3 });
    expect(idsOf(first)).toEqual(ids.slice(0, 3));
    expect(first.pageInfo).toEqual({ hasNextPage: true, hasPreviousPage: false });
    const after = first.edges.at(-1)?.cursor;
    const rest = await pageOf(event, { first: 4, after });
    expect(idsOf(rest)).toEqual(ids.slice(3));
    expect(rest.pageInfo).toEqual({ hasNextPage: false, hasPreviousPage: true });
    expect(idsOf(await pageOf(event, { last: 2 }))).toEqual(ids.slice(5));
    expect(idsOf(await pageOf(event, { last: 2, before: rest.edges[2]?.cursor }))).toEqual(ids.slice(3, 5));
    expect(idsOf(await pageOf(event))).toEqual(ids);
    await expect(pageOf(event, { first: 251 })).rejects.toThrow('INVALID_INPUT');
    await expect(pageOf(event, { after: 'nonsense' })).rejects.toThrow('INVALID_INPUT');
  });
});
