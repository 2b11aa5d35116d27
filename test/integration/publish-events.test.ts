import { describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';

const PUBLISH = `mutation ($input: PublishEventsInput!) {
  publishEvents(input: $input) {
    ... on PublishEventsPayload { results { status id code message path problems { path } } }
    ... on InvalidInputError { code problems { path message } }
  }
}`;
const PUT = `mutation ($input: PutEventTypeInput!) { putEventType(input: $input) { __typename } }`;

type EventInput = { readonly type?: string; readonly data?: unknown; readonly id?: string };
type Result = { readonly status: string; readonly id: string | null; readonly code: string | null };
type Answer = { readonly results?: readonly Result[]; readonly code?: string; readonly problems?: unknown };

const cleanUps = createCleanUps();

async function publish(
  { app }: Pick<TestStack, 'app'>,
  events: readonly EventInput[],
  tenant = 'acme',
): Promise<Answer> {
  const input = { tenant, events: events.map((event) => ({ type: 'order.paid', data: {}, ...event })) };
  return (await app.graphql<{ publishEvents: Answer }>(PUBLISH, { input })).publishEvents;
}

const numbered = (count: number) => Array.from({ length: count }, (_, n) => ({ id: `e${n}`, data: { n } }));
const accepted = (id: string) => ({ status: 'ACCEPTED', id, code: null, message: null, path: null, problems: [] });
const known = (id: string) => ({ ...accepted(id), status: 'KNOWN' });

describe('events published together', () => {
  it('have one result each, in order, and a rejected event does not affect the others', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    const schema = { properties: { user: { properties: { age: { type: 'integer' } } } } };
    await stack.app.graphql(PUT, { input: { name: 'user.born', schema } });
    const { results } = await publish(stack, [
      { id: 'first' },
      { id: 'no spaces', type: 'order paid' },
      { id: 'first', data: { other: true } },
      { id: 'unfit', type: 'user.born', data: { user: { age: 's3cret' } } },
      { id: 'fit', type: 'user.born', data: { user: { age: 1 } } },
      { id: 'large number', data: {} },
      { id: 'last', data: [1] },
    ]);
    expect(results).toEqual([
      accepted('first'),
      expect.objectContaining({
        status: 'REFUSED',
        id: null,
        code: 'INVALID_INPUT',
        path: 'events.1.type',
        problems: [{ path: 'events.1.type' }, { path: 'events.1.id' }],
      }),
      known('first'),
      expect.objectContaining({
        status: 'REFUSED',
        id: null,
        code: 'EVENT_DATA_INVALID',
        path: 'events.3.data.user.age',
        message: 'data.user.age must be integer',
      }),
      accepted('fit'),
      expect.objectContaining({ code: 'INVALID_INPUT', path: 'events.5.id' }),
      accepted('last'),
    ]);
    await receiver.waitForRequests(3);
    await stack.waitForDeliveries(3, `status = 'SUCCESS'`);
    const ids = receiver.requests.map(({ headers }) => String(headers['webhook-id']));
    expect(ids.toSorted()).toEqual(['first', 'fit', 'last']);
    expect(await stack.query(`SELECT FROM events WHERE source = 'GRAPHQL' AND tenant = 'acme'`)).toHaveLength(3);
  });

  it('again after a missing answer, together or in part, create no second event and no second delivery', async () => {
    const stack = await startTestStack(cleanUps, { apps: 2 });
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    const events = numbered(60);
    // The client of the first call does not read the answer, and repeats the call with another process at once.
    const [first, again] = await Promise.all(
      stack.apps.map((app, index) => publish({ app }, index === 0 ? events : events.slice(20))),
    );
    const statuses = [...(first?.results ?? []), ...(again?.results ?? [])].map(({ status }) => status);
    expect(statuses.filter((status) => status === 'ACCEPTED')).toHaveLength(60);
    expect(statuses.filter((status) => status === 'KNOWN')).toHaveLength(40);
    expect((await publish(stack, events)).results).toEqual(events.map(({ id }) => known(id)));
    await stack.waitForDeliveries(60, `status = 'SUCCESS'`);
    expect(receiver.requests).toHaveLength(60);
    expect(await stack.countDeliveries('true')).toBe(60);
  });

  it('are all rejected if they are too many, too large in total, or without a tenant', async () => {
    const stack = await startTestStack(cleanUps);
    const refused = (message: string) => ({ code: 'INVALID_INPUT', problems: [{ path: 'events', message }] });
    expect(await publish(stack, numbered(1_001))).toEqual(refused('has 1001 events, at most 1000 are accepted'));
    const large = [{ data: 'x'.repeat(600_000) }, { data: 'x'.repeat(448_572) }];
    expect(await publish(stack, [...large, {}])).toEqual(refused('have more than 1048576 bytes of data in all'));
    expect(await publish(stack, [], 'a b')).toMatchObject({ code: 'INVALID_INPUT', problems: [{ path: 'tenant' }] });
    expect(await stack.query('SELECT FROM events')).toHaveLength(0);
    expect((await publish(stack, large)).results?.map(({ status }) => status)).toEqual(['ACCEPTED', 'ACCEPTED']);
    expect((await publish(stack, numbered(1_000))).results).toEqual(numbered(1_000).map(({ id }) => accepted(id)));
    expect(await publish(stack, [])).toEqual({ results: [] });
    const all = (await publish(stack, Array<EventInput>(1_000).fill({ type: 'is not' }))).results ?? [];
    expect(all.filter(({ status, code }) => status === 'REFUSED' && code === 'INVALID_INPUT')).toHaveLength(1_000);
    expect(Buffer.byteLength(JSON.stringify(all))).toBeLessThan(200_000);
  });
});
