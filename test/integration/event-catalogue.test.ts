import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { type Api, post, startApi } from '../support/graphql-api.ts';
import { startTestApp } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const PUT = `mutation ($input: PutEventTypeInput!) {
  putEventType(input: $input) {
    ... on PutEventTypePayload { eventType { name description schema isArchived createdAt updatedAt } }
    ... on Error { code message }
    ... on InvalidInputError { problems { path message } }
  }
}`;
const LIST = `query ($filter: EventTypeFilter, $first: Int, $after: String, $last: Int, $before: String) {
  eventTypes(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { name } }
    pageInfo { hasNextPage hasPreviousPage }
  }
}`;

type EventType = {
  readonly name: string;
  readonly description: string;
  readonly schema: unknown;
  readonly isArchived: boolean;
  readonly updatedAt: string;
};
type PutResult = {
  readonly eventType?: EventType;
  readonly code?: string;
  readonly problems?: readonly { readonly path: string; readonly message: string }[];
};
type Page = { readonly edges: readonly { readonly cursor: string; readonly node: { readonly name: string } }[] };

const cleanUps = createCleanUps();

describe('the catalogue', () => {
  let api: Api;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(async () => {
    await api.stop();
  });
  beforeEach(async () => {
    await api.database.prisma.eventType.deleteMany();
  });

  const run = async <T>(query: string, variables: Record<string, unknown> = {}, headers?: Record<string, string>) => {
    const { data, errors } = await post<T>(api.graphql, JSON.stringify({ query, variables }), headers);
    if (data == null) throw new Error(JSON.stringify(errors));
    return data;
  };
  const put = async (input: Record<string, unknown>) =>
    (await run<{ putEventType: PutResult }>(PUT, { input })).putEventType;
  const list = async (variables: Record<string, unknown>) =>
    (await run<{ eventTypes: Page }>(LIST, variables)).eventTypes;
  const namesOf = ({ edges }: Page) => edges.map(({ node }) => node.name);

  it('creates with defaults, and keeps what a later change does not name', async () => {
    const { eventType: created } = await put({ name: 'order.paid' });
    expect(created).toMatchObject({ name: 'order.paid', description: '', schema: null, isArchived: false });
    const schema = { type: 'object', properties: { z: {}, a: {} } };
    await put({ name: 'order.paid', description: 'An order was paid.', schema });
    await put({ name: 'order.paid', isArchived: true, description: null });
    const { eventType } = await run<{ eventType: EventType }>(
      '{ eventType(name: "order.paid") { name description schema isArchived updatedAt } }',
    );
    expect(eventType).toMatchObject({ description: 'An order was paid.', schema, isArchived: true });
    expect(JSON.stringify(eventType.schema)).toBe(JSON.stringify(schema));
    expect(Date.parse(eventType.updatedAt)).toBeGreaterThan(Date.parse(created?.updatedAt ?? ''));
    expect((await put({ name: 'order.paid', schema: null })).eventType).toMatchObject({
      description: 'An order was paid.',
      schema: null,
      isArchived: true,
    });
  });

  it('keeps a schema as it was written', async () => {
    const text =
      '{"enum":[null,"\\u0000","\\ud800",1.5],"properties":{"constructor":{"const":null},"b":true,"a":false}}';
    const { eventType } = await put({ name: 'odd', schema: JSON.parse(text) });
    expect(JSON.stringify(eventType?.schema)).toBe(text);
    const { eventType: read } = await run<{ eventType: EventType }>('{ eventType(name: "odd") { schema } }');
    expect(JSON.stringify(read.schema)).toBe(text);
  });

  it('applies concurrent changes one after another', async () => {
    const changes = Array.from({ length: 20 }, (_, index) => put({ name: 'busy', description: `${index}` }));
    for (const { eventType } of await Promise.all(changes)) expect(eventType?.name).toBe('busy');
    expect(await api.database.prisma.eventType.findUnique({ where: { name: 'busy' } })).toMatchObject({ version: 20n });
  });

  it('reports all problems of an entry', async () => {
    const schema = { type: 'objekt', properties: { a: { minLength: 'x' } } };
    const { code, problems } = await put({ name: 'order paid', description: 'x'.repeat(1_001), schema });
    expect(code).toBe('INVALID_INPUT');
    const paths = ['name', 'description', 'schema.type', 'schema.properties.a.minLength'];
    expect(problems?.map(({ path }) => path)).toEqual(expect.arrayContaining(paths));
    for (const name of ['webhook.test', 'webhook_subscription.failing']) {
      expect((await put({ name })).problems).toEqual([
        { path: 'name', message: 'is reserved for events of the engine' },
      ]);
    }
    expect(namesOf(await list({}))).toEqual([]);
  });

  it('is listed by name in byte order, in pages in both directions, without archived types', async () => {
    for (const name of ['b', 'a.x', 'Z', 'a', 'a-x', 'old', 'c']) await put({ name, isArchived: name === 'old' });
    const all = ['Z', 'a', 'a-x', 'a.x', 'b', 'c'];
    expect(namesOf(await list({}))).toEqual(all);
    expect(namesOf(await list({ filter: { includeArchived: true } }))).toEqual([...all, 'old']);
    const first = await list({ first: 4 });
    expect(namesOf(first)).toEqual(all.slice(0, 4));
    const rest = await list({ first: 4, after: first.edges[3]?.cursor });
    expect(rest).toMatchObject({ pageInfo: { hasNextPage: false } });
    expect(namesOf(rest)).toEqual(all.slice(4));
    expect(namesOf(await list({ last: 2, before: rest.edges[0]?.cursor }))).toEqual(['a-x', 'a.x']);
  });

  it('rejects cursors of other lists', async () => {
    for (const after of ['x', Buffer.from('GPC:N:7').toString('base64'), Buffer.from('GPC:S:a\0').toString('base64')]) {
      await expect(list({ after })).rejects.toThrow('INVALID_INPUT');
    }
  });

  it('has no entry for an invalid name', async () => {
    expect(await run('query ($name: String!) { eventType(name: $name) { name } }', { name: 'a\0' })).toEqual({
      eventType: null,
    });
  });

  it('is readable with every credential, and changed only by an administrator', async () => {
    await put({ name: 'order.paid' });
    const { createApiKey } = await run<{ createApiKey: { key: string } }>(
      'mutation { createApiKey(input: { name: "t", scope: TENANT_WRITE, tenant: "acme" }) { ... on CreateApiKeyPayload { key } } }',
    );
    const headers = { authorization: `Bearer ${createApiKey.key}` };
    const asTenant = (query: string, variables = {}) =>
      post(api.graphql, JSON.stringify({ query, variables }), headers);
    expect(await asTenant('{ eventTypes { nodes { name } } eventType(name: "order.paid") { name } }')).toMatchObject({
      data: { eventTypes: { nodes: [{ name: 'order.paid' }] }, eventType: { name: 'order.paid' } },
    });
    expect(await asTenant(PUT, { input: { name: 'mine' } })).toMatchObject({
      errors: [{ extensions: { code: 'FORBIDDEN' } }],
    });
    expect(namesOf(await list({}))).toEqual(['order.paid']);
  });

  describe('in a dry run', () => {
    const TRY = `mutation ($input: PutEventTypeInput!) { putEventType(input: $input) {
      ... on PutEventTypePayload {
        eventType { name description schema }
        trial { checkedCount rejectedCount isComplete samples { event { id tenant } reasons { path message code } } } }
      ... on InvalidInputError { problems { path message } } } }`;
    const NUMBERS = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] };
    const tryOut = async (input: Record<string, unknown>) =>
      (await run<{ putEventType: Record<string, unknown> }>(TRY, { input: { ...input, dryRun: true } })).putEventType;
    /** Inserts events of the type, each one millisecond newer. `data` is SQL that may contain `n`, counted from 1. */
    const store = (type: string, count: number, data: string) =>
      api.database.pool.query(
        `INSERT INTO events (id, tenant, event_id, type, occurred_at, data, source)
         SELECT ('0193' || lpad(to_hex(n), 8, '0') || '70008' || substr(md5($1), 1, 15))::uuid,
           'tenant-' || n % 2, $1 || n, $1, now(), convert_to(${data}, 'UTF8'), 'NATS' FROM generate_series(1, $2) n`,
        [type, count],
      );

    it('tests the schema on stored events of every tenant, and saves nothing', async () => {
      await store(
        'tried',
        30,
        `CASE WHEN n > 5 THEN '{"n":' || n || '}' WHEN n > 1 THEN '{"n":"s3cret"}' ELSE '[]' END`,
      );
      await api.database.pool.query(`UPDATE events SET source = 'TEST' WHERE event_id = 'tried2'`);
      await api.database.pool.query(`UPDATE events SET redacted_at = now(), data = 'null' WHERE event_id = 'tried3'`);
      const entries = () => api.database.pool.query('SELECT count(*)::integer AS count FROM audit_log');
      const before = (await entries()).rows;
      const { eventType, trial } = await tryOut({ name: 'tried', schema: NUMBERS });
      expect(eventType).toEqual({ name: 'tried', description: '', schema: NUMBERS });
      const mismatch = { path: 'data.n', message: 'must be integer', code: 'EVENT_DATA_INVALID' };
      expect(trial).toEqual({
        checkedCount: 28,
        rejectedCount: 3,
        isComplete: true,
        samples: [
          { event: { id: 'tried5', tenant: 'tenant-1' }, reasons: [mismatch] },
          { event: { id: 'tried4', tenant: 'tenant-0' }, reasons: [mismatch] },
          {
            event: { id: 'tried1', tenant: 'tenant-1' },
            reasons: [{ path: 'data', message: 'must be object', code: 'EVENT_DATA_INVALID' }],
          },
        ],
      });
      expect(await run('{ eventType(name: "tried") { name } }')).toEqual({ eventType: null });
      expect((await entries()).rows).toEqual(before);
    });

    it('uses the stored schema if none is given, and checks nothing without a schema', async () => {
      await store('kept', 2, `'{"n":"x"}'`);
      await put({ name: 'kept', schema: NUMBERS, description: 'Kept.' });
      const { eventType, trial } = await tryOut({ name: 'kept' });
      expect(eventType).toEqual({ name: 'kept', description: 'Kept.', schema: NUMBERS });
      expect(trial).toMatchObject({ checkedCount: 2, rejectedCount: 2, isComplete: true });
      const none = await tryOut({ name: 'kept', schema: null });
      expect(none['trial']).toEqual({ checkedCount: 0, rejectedCount: 0, isComplete: true, samples: [] });
      expect((await put({ name: 'kept' })).eventType).toMatchObject({ schema: NUMBERS });
    });

    it('reports the problems of the entry', async () => {
      const { problems } = await tryOut({ name: 'webhook.test', schema: { minLength: 'x' } });
      expect(problems).toMatchObject([{ path: 'name' }, { path: 'schema.minLength' }]);
    });

    it.each([
      ['events', { count: 1_001, data: `'{}'`, schema: { required: ['n'] } }, 1_000],
      ['bytes', { count: 9, data: `'"' || repeat('x', 1000000) || '"'`, schema: { type: 'number' } }, 8],
      ['time', { count: 3, data: `'"' || repeat('a', 100) || 'b"'`, schema: { pattern: '^(a+)+$' } }, 0],
    ])('has a limit of %s', async (type, { count, data, schema }, checkedCount) => {
      await store(type, count, data);
      const samples = { length: Math.min(checkedCount, 20) };
      // On a busy machine, the limit of time can end a trial first.
      await expect
        .poll(async () => (await tryOut({ name: type, schema }))['trial'])
        .toMatchObject({ checkedCount, rejectedCount: checkedCount, isComplete: false, samples });
    });
  });

  describe('statistics', () => {
    const subscribe = (tenant: string, eventTypes: readonly string[]) =>
      api.database.prisma.webhookSubscription.create({
        data: { id: uuid7(Date.now()), tenant, url: 'https://example.com', eventTypes: [...eventTypes] },
      });
    const addEvent = (tenant: string, type: string, at: Date) =>
      api.database.prisma.event.create({
        data: {
          id: uuid7(at.getTime()),
          eventId: uuid7(at.getTime()),
          tenant,
          type,
          occurredAt: at,
          createdAt: at,
          data: Buffer.from(JSON.stringify({ tenant, at })),
          matchedVersion: 1n,
        },
      });
    const keyOf = async (tenant: string) => {
      const { createApiKey } = await run<{ createApiKey: { key: string } }>(
        `mutation { createApiKey(input: { name: "t", scope: TENANT_READ, tenant: "${tenant}" }) { ... on CreateApiKeyPayload { key } } }`,
      );
      return { authorization: `Bearer ${createApiKey.key}` };
    };
    const as = (query: string, headers: Record<string, string>) => run(query, {}, headers);
    beforeEach(async () => {
      await api.database.prisma.webhookSubscription.deleteMany();
      await api.database.prisma.event.deleteMany();
    });

    it('counts the subscriptions that select a type by name, prefix or all, each once', async () => {
      for (const name of ['order.paid', 'order.refund.sent', 'ping']) await put({ name });
      await subscribe('acme', ['order.paid', 'order.*', '*']);
      await subscribe('acme', ['order.paid', 'order.*']);
      await subscribe('acme', ['order.paid', 'order.*']);
      await subscribe('other', ['order.refund.*', 'pin']);
      const gone = await subscribe('acme', ['ping']);
      await api.database.prisma.webhookSubscription.update({ where: { id: gone.id }, data: { deletedAt: new Date() } });
      const counts = (values: readonly number[]) => ({
        eventTypes: { nodes: values.map((subscriptionCount) => ({ subscriptionCount })) },
      });
      expect(await run('{ eventTypes { nodes { subscriptionCount } } }')).toEqual(counts([3, 4, 1]));
      expect(await run('{ eventTypes { nodes { subscriptionCount(tenant: "other") } } }')).toEqual(counts([0, 1, 0]));
      const own = await as('{ eventTypes { nodes { subscriptionCount } } }', await keyOf('other'));
      expect(own).toEqual(counts([0, 1, 0]));
      await api.database.prisma.webhookSubscription.deleteMany();
      expect(await run('{ eventTypes { nodes { subscriptionCount } } }')).toEqual(counts([0, 0, 0]));
    });

    it('shows a tenant its own last event', async () => {
      for (const name of ['order.paid', 'ping']) await put({ name });
      const [early, late] = [new Date('2026-03-01T12:00:00.000Z'), new Date('2026-03-01T12:00:01.000Z')];
      await addEvent('acme', 'order.paid', new Date('2026-03-01T11:59:59.000Z'));
      await addEvent('acme', 'order.paid', early);
      await addEvent('other', 'order.paid', late);
      await addEvent('other', 'unlisted', new Date('2026-03-01T12:00:02.000Z'));
      const figures = (args = '') =>
        `{ eventTypes { nodes { lastEventAt${args} example${args} { tenant type createdAt source data considered { nodes { result } } } } } }`;
      const paid = (tenant: string, at: Date, data: unknown = { tenant, at: at.toISOString() }) => {
        const createdAt = at.toISOString();
        const event = { tenant, type: 'order.paid', createdAt, source: 'NATS', data, considered: { nodes: [] } };
        const none = { lastEventAt: null, example: null };
        return { eventTypes: { nodes: [{ lastEventAt: createdAt, example: event }, none] } };
      };
      expect(await run(figures())).toEqual(paid('other', late));
      expect(await run(figures('(tenant: "acme")'))).toEqual(paid('acme', early));
      expect(await as(figures(), await keyOf('acme'))).toEqual(paid('acme', early));
      for (const field of ['lastEventAt(tenant: "other")', 'example(tenant: "other") { id }']) {
        const query = `{ eventTypes { nodes { ${field} } } }`;
        const refused = await post(api.graphql, JSON.stringify({ query }), await keyOf('acme'));
        expect(refused.errors?.[0]).toMatchObject({ extensions: { code: 'INVALID_INPUT' } });
      }
      const { createPortalSession } = await run<{ createPortalSession: { token: string } }>(
        'mutation { createPortalSession(input: { tenant: "acme", hidePayloads: true }) { ... on CreatePortalSessionPayload { token } } }',
      );
      const hiding = { authorization: `Bearer ${createPortalSession.token}` };
      expect(await as(figures(), hiding)).toEqual(paid('acme', early, null));
    });

    it('lists types of events of the last days that it does not contain', async () => {
      for (const name of ['b', 'c']) await put({ name, isArchived: name === 'c' });
      const now = Date.now();
      for (const type of ['a', 'b', 'c', 'webhook.test', 'webhook_subscription.failing', 'Z.x']) {
        await addEvent('acme', type, new Date(now - 1_000));
      }
      await addEvent('other', 'd', new Date(now - 1_000));
      await addEvent('acme', 'old', new Date(now - 10 * 86_400_000));
      const observed = async (args = '') =>
        (await run<{ observedEventTypes: unknown }>(`{ observedEventTypes${args} }`)).observedEventTypes;
      expect(await observed()).toEqual(['Z.x', 'a', 'd']);
      expect(await observed('(days: 11)')).toEqual(['Z.x', 'a', 'd', 'old']);
      expect(await observed('(tenant: "other", days: 30)')).toEqual(['d']);
      expect(await as('{ observedEventTypes(days: 30) }', await keyOf('acme'))).toEqual({
        observedEventTypes: ['Z.x', 'a', 'old'],
      });
      await expect(observed('(days: 0)')).rejects.toThrow('days');
      const types = Array.from({ length: 2_000 }, (_, index) => `-.${index}`);
      await api.database.pool.query(
        `INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
         SELECT id, 'other', id::text, type, now(), '1'
         FROM unnest($1::uuid[], $2::text[]) AS event (id, type)`,
        [types.map(() => uuid7(now)), types],
      );
      // The types of another tenant that come first by name hide none.
      expect(await as('{ observedEventTypes }', await keyOf('acme'))).toEqual({ observedEventTypes: ['Z.x', 'a'] });
    });
  });

  it('has a limit', async () => {
    await api.database.pool.query(`INSERT INTO event_types (name) SELECT 't' || n FROM generate_series(1, 2000) n`);
    expect((await put({ name: 'one-more' })).problems).toMatchObject([{ path: 'name' }]);
    expect((await put({ name: 't7', description: 'Still mine.' })).eventType).toMatchObject({ name: 't7' });
  });

  describe('and webhook subscriptions', () => {
    const CREATE = `mutation ($eventTypes: [String!]!) {
      createWebhookSubscription(input: { tenant: "acme", url: "https://example.com", eventTypes: $eventTypes }) {
        ... on CreateWebhookSubscriptionPayload { subscription { id eventTypes } }
        ... on InvalidInputError { problems { path message } }
      }
    }`;
    const UPDATE = `mutation ($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
      updateWebhookSubscription(id: $id, input: $input) {
        ... on UpdateWebhookSubscriptionPayload { subscription { id eventTypes url } }
        ... on InvalidInputError { problems { path message } }
      }
    }`;
    type Subscribed = {
      readonly subscription?: { readonly id: string; readonly eventTypes: readonly string[]; readonly url?: string };
      readonly problems?: unknown;
    };
    const create = async (...eventTypes: string[]) =>
      (await run<{ createWebhookSubscription: Subscribed }>(CREATE, { eventTypes })).createWebhookSubscription;
    const update = async (id: string | undefined, input: Record<string, unknown>) =>
      (await run<{ updateWebhookSubscription: Subscribed }>(UPDATE, { id, input })).updateWebhookSubscription;

    it('without a catalogue, or with archived types only, may select any type that is not archived', async () => {
      expect((await create('any.thing', 'x.*', 'order.paid')).subscription).toBeDefined();
      await put({ name: 'order.paid', isArchived: true });
      expect((await create('any.thing', 'x.*', 'order.*')).subscription).toBeDefined();
      expect((await create('any.thing', 'order.paid')).problems).toEqual([
        { path: 'eventTypes.1', message: 'is archived in the event catalogue' },
      ]);
    });

    it('select types of the catalogue, prefixes, all types, and system events', async () => {
      await put({ name: 'order.paid' });
      const own = ['webhook.test', 'webhook.*', 'webhook_subscription.failing', 'webhook_subscription.*'];
      const eventTypes = ['order.paid', 'order.*', '*', ...own];
      expect((await create(...eventTypes)).subscription).toMatchObject({ eventTypes });
    });

    it('are rejected with an unknown type, with suggestions', async () => {
      await put({ name: 'order.paid' });
      await put({ name: 'order.refunded', isArchived: true });
      await put({ name: 'invoice.old.sent', isArchived: true });
      const asked = ['order.payed', '*', 'order', 'order.refunded', 'invoice.*', 'orders.*', 'ORDER_PAID'];
      expect((await create(...asked)).problems).toEqual([
        { path: 'eventTypes.0', message: 'is not in the event catalogue; did you mean order.paid?' },
        { path: 'eventTypes.2', message: 'is not in the event catalogue' },
        { path: 'eventTypes.3', message: 'is archived in the event catalogue' },
        { path: 'eventTypes.4', message: 'is archived in the event catalogue' },
        { path: 'eventTypes.5', message: 'matches nothing in the event catalogue' },
        { path: 'eventTypes.6', message: 'is not in the event catalogue; did you mean order.paid?' },
      ]);
    });

    it('keep their types, even if an update repeats them', async () => {
      const { subscription } = await create('legacy', 'order.paid');
      await put({ name: 'order.paid' });
      const id = subscription?.id;
      const change = { eventTypes: ['legacy'], url: 'https://example.com/moved' };
      expect((await update(id, change)).subscription).toMatchObject(change);
      expect((await update(id, { eventTypes: ['legacy', 'other'] })).problems).toEqual([
        { path: 'eventTypes.1', message: 'is not in the event catalogue' },
      ]);
      expect((await update(id, { eventTypes: ['order.paid'] })).subscription).toBeDefined();
      expect((await update(id, { eventTypes: ['legacy'] })).problems).toMatchObject([{ path: 'eventTypes.0' }]);
    });
  });
});

describe('schemas', () => {
  const NUMBER = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] };

  async function put({ app }: Pick<TestStack, 'app'>, input: Record<string, unknown>): Promise<void> {
    const { putEventType } = await app.graphql<{ putEventType: PutResult }>(PUT, { input });
    expect(putEventType.eventType).toMatchObject({ name: input['name'] });
  }
  const rejectionsOf = ({ query }: TestStack) =>
    query<{ id: string; tenant: string; subject: string; reason: string; message: string; sizeBytes: number }>(
      `SELECT tenant, subject, reason, message, size_bytes AS "sizeBytes" FROM rejected_events
       ORDER BY message COLLATE "C"`,
    );
  const isWritten = async ({ query }: TestStack, eventId: string) =>
    (await query('SELECT FROM events WHERE event_id = $1', [eventId])).length === 1;

  it('reject events that violate them, with the path and no values; other events are delivered', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    await put(stack, { name: 'counted', schema: NUMBER });
    await put(stack, { name: 'archived', schema: NUMBER, isArchived: true });
    await put(stack, { name: 'free' });
    await stack.publish('events.acme.counted', '{"n":"s3cret"}', { 'Nats-Msg-Id': 'bad' });
    await stack.publish('events.acme.counted', '[]', { 'Nats-Msg-Id': 'worse' });
    await stack.publish('events.acme.archived', '{}', { 'Nats-Msg-Id': 'old' });
    const accepted = ['counted', 'archived', 'free', 'unknown'];
    for (const type of accepted) await stack.publish(`events.acme.${type}`, '{"n":1}', { 'Nats-Msg-Id': type });
    await receiver.waitForRequests(4);
    expect(receiver.requests.map(({ headers }) => headers['webhook-id']).sort()).toEqual([...accepted].sort());
    expect(await rejectionsOf(stack)).toMatchObject([
      { message: 'data must be object' },
      { subject: 'events.acme.archived', message: "data must have required property 'n'" },
      {
        tenant: 'acme',
        subject: 'events.acme.counted',
        reason: 'SCHEMA_MISMATCH',
        sizeBytes: 14,
        message: 'data.n must be integer',
      },
    ]);
    const { rejectedEvents } = await stack.app.graphql<{ rejectedEvents: { nodes: unknown[] } }>(
      '{ rejectedEvents(filter: { reasons: [SCHEMA_MISMATCH] }) { nodes { reason } } }',
    );
    expect(rejectedEvents.nodes).toHaveLength(3);
  });

  it('apply in every process to all events published after the answer to their mutation, during other traffic', async () => {
    const stack = await startTestStack(cleanUps, { apps: 2 });
    const [here, there] = stack.apps;
    if (here === undefined || there === undefined) throw new Error('two programs are needed');
    // Either process may receive the event: a process with an old schema shows itself within a few rounds.
    const ROUNDS = 12;
    const background = stack.publishMany('other', 200);
    const judged = async () =>
      (await stack.query(`SELECT FROM events WHERE type = 'turn'`)).length + (await rejectionsOf(stack)).length;
    for (let round = 0; round < ROUNDS; round += 1) {
      await put({ app: round % 2 === 0 ? here : there }, { name: 'turn', schema: { const: round } });
      const publish = (value: number) =>
        stack.publish('events.acme.turn', `${value}`, { 'Nats-Msg-Id': `${round}-${value}` });
      await Promise.all([publish(round), publish(round - 1)]);
      // An event that is not checked yet would be checked with the next schema.
      await waitFor(async () => (await judged()) === 2 * (round + 1), { what: 'both to be judged' });
    }
    await put(stack, { name: 'turn', schema: null });
    await stack.publish('events.acme.turn', '"anything"', { 'Nats-Msg-Id': 'free' });
    await background;
    await waitFor(async () => (await judged()) === 2 * ROUNDS + 1, { what: 'the last to be judged' });
    const written = await stack.query<{ id: string }>(`SELECT event_id AS id FROM events WHERE type = 'turn'`);
    const expected = Array.from({ length: ROUNDS }, (_, round) => `${round}-${round}`);
    expect(written.map(({ id }) => id).sort()).toEqual([...expected, 'free'].sort());
  });

  it('are not applied to a redelivered event that was already written', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await stack.app.subscribe({ url: receiver.url });
    await stack.publish('events.acme.counted', '{}', { 'Nats-Msg-Id': 'early' });
    await receiver.waitForRequests(1);
    await put(stack, { name: 'counted', schema: NUMBER });
    // First a publisher repeats an event; then the message of the last event is redelivered.
    await stack.publish('events.acme.counted', '{}', { 'Nats-Msg-Id': 'early' });
    await stack.publish('events.acme.counted', '{"n":1}', { 'Nats-Msg-Id': 'late' });
    await receiver.waitForRequests(2);
    expect(await rejectionsOf(stack)).toEqual([]);
  });

  it('apply after a restart', async () => {
    const stack = await startTestStack(cleanUps);
    await put(stack, { name: 'counted', schema: NUMBER });
    await stack.app.stop();
    const again = await startTestApp(stack);
    cleanUps.push(() => again.stop());
    await stack.publish('events.acme.counted', '{}');
    await waitFor(async () => (await rejectionsOf(stack)).length === 1, { what: 'the rejection' });
  });

  it('whose check exceeds its time limit delay no other event: the event is accepted, with a line in the log', async () => {
    const stack = await startTestStack(cleanUps);
    await put(stack, { name: 'slow', schema: { type: 'string', pattern: '^(a+)+$' } });
    await put(stack, { name: 'counted', schema: NUMBER });
    await stack.publish('events.acme.slow', '"b"', { 'Nats-Msg-Id': 'judged' });
    await waitFor(async () => (await rejectionsOf(stack)).length === 1, { what: 'the rejection' });
    const text = JSON.stringify(`${'a'.repeat(100)}b`);
    const slow = ['slow-1', 'slow-2', 'slow-3'];
    await Promise.all([
      ...slow.map((id) => stack.publish('events.acme.slow', text, { 'Nats-Msg-Id': id })),
      stack.publish('events.acme.counted', '{}', { 'Nats-Msg-Id': 'wrong' }),
      stack.publish('events.acme.counted', '{"n":1}', { 'Nats-Msg-Id': 'right' }),
    ]);
    for (const id of [...slow, 'right']) await waitFor(() => isWritten(stack, id), { what: id });
    await waitFor(async () => (await rejectionsOf(stack)).length === 2, { what: 'the second rejection' });
    const warnings = stack.logLines.filter((line) => line.includes('validation exceeded its time limit'));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('"eventType":"slow"');
    // Another schema is used at once.
    await put(stack, { name: 'slow', schema: { type: 'string', pattern: '^a+$' } });
    await stack.publish('events.acme.slow', text, { 'Nats-Msg-Id': 'judged-again' });
    await waitFor(async () => (await rejectionsOf(stack)).length === 3, { what: 'the third rejection' });
  });

  /** Returns a text that `^(a+)+$` takes at least `ms` milliseconds to reject. Each `a` doubles the time. */
  function slowText(ms: number): string {
    for (let length = 18; ; length += 1) {
      const text = `${'a'.repeat(length)}b`;
      const tookMs = [1, 2, 3].map(() => {
        const began = performance.now();
        /^(a+)+$/.test(text);
        return performance.now() - began;
      });
      // The minimum, because other runs may have waited for a CPU.
      if (Math.min(...tookMs) >= ms) return JSON.stringify(text);
    }
  }

  it('have one time limit for all events of a batch, of one type or of many', async () => {
    const stack = await startTestStack(cleanUps);
    const types = ['one', 'two', 'three'];
    for (const name of types) await put(stack, { name, schema: { type: 'string', pattern: '^(a+)+$' } });
    // A single check is within the limit; all together take at least 36 s.
    const text = slowText(100);
    const ids = types.flatMap((type) => Array.from({ length: 120 }, (_, index) => ({ type, id: `${type}-${index}` })));
    const began = Date.now();
    await Promise.all(ids.map(({ type, id }) => stack.publish(`events.acme.${type}`, text, { 'Nats-Msg-Id': id })));
    await stack.publish('events.acme.free', '{}', { 'Nats-Msg-Id': 'last' });
    await waitFor(() => isWritten(stack, 'last'), { what: 'the last' });
    expect(Date.now() - began).toBeLessThan(30_000);
    // Another batch may still be written.
    const judged = async () =>
      (await rejectionsOf(stack)).length + (await stack.query(`SELECT FROM events WHERE type <> 'free'`)).length;
    await waitFor(async () => (await judged()) === ids.length, { what: 'the others' });
    // If all events arrived in one batch, no time was left to check the third one.
    const warnings = stack.logLines.filter((line) => line.includes('validation exceeded its time limit'));
    const suspended = types.filter((type) => warnings.some((line) => line.includes(`"eventType":"${type}"`)));
    expect(suspended.length).toBeGreaterThanOrEqual(2);
    expect(warnings).toHaveLength(suspended.length);
  });

  it('reject data with hundreds of thousands of problems with the first one', async () => {
    const stack = await startTestStack(cleanUps);
    const required = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    await put(stack, { name: 'many', schema: { type: 'array', items: { type: 'object', required } } });
    const data = JSON.stringify(Array.from({ length: 100_000 }, () => ({})));
    for (const id of ['1', '2']) await stack.publish('events.acme.many', data, { 'Nats-Msg-Id': id });
    await waitFor(async () => (await rejectionsOf(stack)).length === 2, { what: 'the rejections' });
    await stack.publish('events.acme.many', '[{"a":1}]', { 'Nats-Msg-Id': '3' });
    await waitFor(async () => (await rejectionsOf(stack)).length === 3, { what: 'the last rejection' });
    const first = "data.0 must have required property 'a'";
    expect((await rejectionsOf(stack)).map(({ message }) => message)).toEqual([
      ...[first, first],
      "data.0 must have required property 'b' (and 6 more)",
    ]);
    expect(stack.logLines.filter((line) => line.includes('validation exceeded its time limit'))).toEqual([]);
  });

  it('that can no longer be compiled lose no event', async () => {
    const stack = await startTestStack(cleanUps);
    await stack.query(`INSERT INTO event_types (name, schema) VALUES ('odd', '{"type": "of another time"}')`);
    await stack.publish('events.acme.odd', '{}', { 'Nats-Msg-Id': 'odd' });
    await waitFor(() => isWritten(stack, 'odd'), { what: 'the event' });
    expect(stack.logLines.filter((line) => line.includes('schema unusable'))).toHaveLength(1);
  });
});
