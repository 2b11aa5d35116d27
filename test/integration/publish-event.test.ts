import { describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestApp } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const PUBLISH = `mutation ($input: PublishEventInput!) {
  publishEvent(input: $input) {
    ... on PublishEventPayload { event { id tenant type occurredAt data source } }
    ... on Error { code message }
    ... on InvalidInputError { problems { path message } }
    ... on EventDataInvalidError { problems { path message } }
  }
}`;
const PUT = `mutation ($input: PutEventTypeInput!) { putEventType(input: $input) { __typename } }`;

type Result = {
  readonly event?: { readonly id: string; readonly occurredAt: string; readonly data: unknown };
  readonly code?: string;
  readonly message?: string;
  readonly problems?: readonly { readonly path: string; readonly message: string }[];
};

const cleanUps = createCleanUps();

async function publish({ app }: Pick<TestStack, 'app'>, input: Record<string, unknown>): Promise<Result> {
  const variables = { input: { tenant: 'acme', type: 'order.paid', data: {}, ...input } };
  return (await app.graphql<{ publishEvent: Result }>(PUBLISH, variables)).publishEvent;
}

const bodyOf = (request: { readonly rawBody: Buffer } | undefined) => request?.rawBody.toString();

describe('an event published over GraphQL', () => {
  it('is delivered like any other', async () => {
    const stack = await startTestStack(cleanUps);
    const [wanting, other] = [await stack.receive(), await stack.receive()];
    await stack.app.subscribe({ url: wanting.url, eventTypes: ['order.*'] });
    await stack.app.subscribe({ url: other.url, eventTypes: ['invoice.sent'] });
    await stack.app.subscribe({ url: other.url, tenant: 'globex' });
    const input = { id: 'order-1', occurredAt: '2026-01-31T13:00:00+01:00', data: { total: 1.5, names: ['é', null] } };
    expect(await publish(stack, input)).toEqual({
      event: {
        ...input,
        tenant: 'acme',
        type: 'order.paid',
        occurredAt: '2026-01-31T12:00:00.000Z',
        source: 'GRAPHQL',
      },
    });
    const [request] = await wanting.waitForRequests(1);
    expect(request?.headers).toMatchObject({ 'webhook-id': 'order-1', 'webhook-event': 'order.paid' });
    expect(bodyOf(request)).toBe(
      '{"id":"order-1","type":"order.paid","timestamp":"2026-01-31T12:00:00.000Z","data":{"total":1.5,"names":["é",null]}}',
    );
    await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
    expect(await stack.countDeliveries('true')).toBe(1);
    expect(other.requests).toEqual([]);
  });

  it('has its data as serialized JSON, with any member names', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    const data = '{"b":[1e+21,"\\u0000","\\ud800"],"__proto__":{"a":1},"constructor":null,"a":"<é >"}';
    await publish(stack, { id: 'odd', data: JSON.parse(data) as unknown });
    expect(bodyOf((await receiver.waitForRequests(1))[0])).toContain(`"data":${data}}`);
  });

  it('gets an id and a time if none are given', async () => {
    const stack = await startTestStack(cleanUps);
    const begun = Date.now();
    const [first, second] = [await publish(stack, {}), await publish(stack, {})];
    expect(first.event?.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(first.event?.id).not.toBe(second.event?.id);
    expect(Date.parse(first.event?.occurredAt ?? '')).toBeGreaterThanOrEqual(begun);
  });

  it('with several problems is rejected with all of them', async () => {
    const stack = await startTestStack(cleanUps);
    const bad = { tenant: 'a b', type: 'order paid', id: 'is not', data: 'x'.repeat(1_048_575) };
    const { code, problems } = await publish(stack, bad);
    expect(code).toBe('INVALID_INPUT');
    expect(problems?.map(({ path }) => path)).toEqual(['tenant', 'type', 'id', 'data']);
    expect(problems?.[3]?.message).toBe('has 1048577 bytes, at most 1048576 are accepted');
    expect((await publish(stack, { tenant: null })).problems).toEqual([{ path: 'tenant', message: 'is required' }]);
    expect(await publish(stack, { data: 'x'.repeat(1_048_574) })).toHaveProperty('event');
    expect(await stack.query('SELECT FROM events')).toHaveLength(1);
  });

  it.each([1_001, 500_000])('must not be nested deeper than 1,000 levels: not %i', async (levels) => {
    const stack = await startTestStack(cleanUps);
    const deep = (count: number) => `${'['.repeat(count)}${']'.repeat(count)}`;
    const send = async (count: number): Promise<unknown> => {
      const body = `{"query":${JSON.stringify(PUBLISH)},"variables":{"input":{"tenant":"acme","type":"a","data":${deep(count)}}}}`;
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${stack.app.adminApiKey}` };
      return (await fetch(`${stack.app.url}/graphql`, { method: 'POST', headers, body })).json();
    };
    expect(await send(levels)).toMatchObject({
      data: { publishEvent: { problems: [{ path: 'data', message: 'is nested deeper than 1000 levels' }] } },
    });
    expect(await send(1_000)).not.toHaveProperty('data.publishEvent.problems');
    expect(await stack.query('SELECT FROM events')).toHaveLength(1);
  });

  it('whose data violates the schema of its type is rejected with the paths, and nothing is recorded', async () => {
    const stack = await startTestStack(cleanUps);
    const schema = { properties: { user: { properties: { age: { type: 'integer' } }, required: ['name'] } } };
    await stack.app.graphql(PUT, { input: { name: 'order.paid', schema } });
    expect(await publish(stack, { data: { user: { age: 's3cret' } } })).toEqual({
      code: 'EVENT_DATA_INVALID',
      message: "data.user must have required property 'name' (and 1 more)",
      problems: [
        { path: 'data.user', message: "must have required property 'name'" },
        { path: 'data.user.age', message: 'must be integer' },
      ],
    });
    expect(await publish(stack, { data: { user: { age: 1, name: 'x' } } })).toHaveProperty('event');
    expect(await publish(stack, { type: 'unknown', data: { user: {} } })).toHaveProperty('event');
    expect(await stack.query('SELECT FROM events UNION ALL SELECT FROM rejected_events')).toHaveLength(2);
  });
});

describe('the same id', () => {
  it('again returns the existing event, even with other data, and nothing is sent twice', async () => {
    const stack = await startTestStack(cleanUps, { apps: 2 });
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    const first = await publish(stack, { id: 'same', data: { n: 1 } });
    const other = stack.apps[1];
    if (other === undefined) throw new Error('two programs are needed');
    expect(await publish({ app: other }, { id: 'same', data: { n: 2 }, type: 'other' })).toEqual(first);
    await stack.app.graphql(PUT, { input: { name: 'order.paid', schema: { const: 'something else' } } });
    expect(await publish(stack, { id: 'same', data: { n: 3 } })).toEqual(first);
    expect(await publish(stack, { id: 'same', tenant: 'globex', type: 'x' })).not.toEqual(first);
    await publish(stack, { id: 'next', type: 'x' });
    await receiver.waitForRequests(2);
    await stack.waitForDeliveries(2, `status = 'SUCCESS'`);
    expect(receiver.requests).toHaveLength(2);
    expect(await stack.countDeliveries('true')).toBe(2);
  });

  it('at the same time in two processes creates one event', async () => {
    const stack = await startTestStack(cleanUps, { apps: 2 });
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, index) => {
        const app = stack.apps[index % 2] ?? stack.app;
        return publish({ app }, { id: `id-${index % 4 < 2 ? 'a' : 'b'}`, data: { index } });
      }),
    );
    expect(new Set(results.map((result) => JSON.stringify(result))).size).toBe(2);
    await receiver.waitForRequests(2);
    await stack.waitForDeliveries(2, `status = 'SUCCESS'`);
    expect(await stack.query('SELECT FROM events')).toHaveLength(2);
    expect(receiver.requests).toHaveLength(2);
  });

  it('over NATS and over GraphQL is one event in either order', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    await stack.publish('events.acme.order.paid', '{"over":"NATS"}', { 'Nats-Msg-Id': 'first-nats' });
    await receiver.waitForRequests(1);
    expect((await publish(stack, { id: 'first-nats', data: { over: 'GraphQL' } })).event?.data).toEqual({
      over: 'NATS',
    });
    await publish(stack, { id: 'first-graphql', data: { over: 'GraphQL' } });
    await stack.publish('events.acme.order.paid', '{"over":"NATS"}', { 'Nats-Msg-Id': 'first-graphql' });
    await stack.publish('events.acme.order.paid', '{}', { 'Nats-Msg-Id': 'last' });
    await receiver.waitForRequests(3);
    await stack.waitForDeliveries(3, `status = 'SUCCESS'`);
    const ids = receiver.requests.map(({ headers }) => String(headers['webhook-id']));
    expect(ids.toSorted()).toEqual(['first-graphql', 'first-nats', 'last']);
    expect(bodyOf(receiver.requests[ids.indexOf('first-graphql')])).toContain('{"over":"GraphQL"}');
    expect(await stack.countDeliveries('true')).toBe(3);
  });
});

describe('without a part of the installation', () => {
  it('without NATS, the event is written, and delivered once when NATS is back', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    await stack.nats.kill9();
    await waitFor(async () => (await fetch(`${stack.app.url}/health/ready`)).status === 503, {
      what: 'NATS to be gone',
    });
    expect(await publish(stack, { id: 'meanwhile' })).toMatchObject({ event: { id: 'meanwhile' } });
    expect(await publish(stack, { id: 'meanwhile' })).toMatchObject({ event: { id: 'meanwhile' } });
    expect(await stack.countDeliveries(`status = 'PENDING' AND enqueued_at IS NULL`)).toBe(1);
    await stack.nats.start();
    const [request] = await receiver.waitForRequests(1);
    expect(request?.headers['webhook-id']).toBe('meanwhile');
    await publish(stack, { id: 'afterwards' });
    await stack.waitForDeliveries(2, `status = 'SUCCESS'`);
    expect(receiver.requests).toHaveLength(2);
  });

  it('without a dispatcher, a process with only the role api writes the deliveries that another process sends', async () => {
    const stack = await startTestStack(cleanUps, { env: { ROLES: 'sender' } });
    const app = await startTestApp(stack, { env: { ROLES: 'api' } });
    cleanUps.push(() => app.stop());
    const receiver = await stack.receive();
    await app.subscribe({ url: receiver.url });
    await publish({ app }, { id: 'no-dispatcher' });
    await receiver.waitForRequests(1);
  });
});

describe('many at once', () => {
  it('are all written, each with its own deliveries', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    await stack.app.subscribe({ url: receiver.url, eventTypes: ['order.paid'] });
    await stack.app.subscribe({ url: receiver.url, tenant: 'globex' });
    const tenants = ['acme', 'globex', 'nobody'];
    const results = await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        publish(stack, { id: `id-${Math.floor(index / 3)}`, tenant: tenants[index % 3], data: index }),
      ),
    );
    expect(results.map(({ event }) => event?.data)).toEqual(Array.from({ length: 300 }, (_, index) => index));
    await stack.waitForDeliveries(300, `status = 'SUCCESS' AND attempt_count = 1`);
    expect(receiver.requests).toHaveLength(300);
  });

  it('one event that Postgres refuses does not affect the others', async () => {
    const stack = await startTestStack(cleanUps);
    await stack.query(`ALTER TABLE events ADD CHECK (type <> 'poison')`);
    const results = await Promise.allSettled(
      Array.from({ length: 30 }, (_, index) => publish(stack, { type: index === 7 ? 'poison' : 'fine', data: index })),
    );
    const failed = results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []));
    expect(failed).toEqual([7]);
    expect(await stack.query('SELECT FROM events')).toHaveLength(29);
  });
});
