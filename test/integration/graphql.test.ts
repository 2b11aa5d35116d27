import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import {
  buildSchema,
  type GraphQLOutputType,
  getNamedType,
  isLeafType,
  isObjectType,
  isRequiredArgument,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import {
  ADMIN_KEY,
  type Api,
  attemptOf,
  expectType,
  post,
  seedDelivery,
  startApi,
  storeAttempt,
} from '../support/graphql-api.ts';
import { CREATE, DELIVERY_LOG, EVENT, ROTATE, SUBSCRIPTIONS } from '../support/graphql-operations.graphql.ts';
import { findOwnPort } from '../support/own-port.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(async () => {
  await api.stop();
});

async function create(tenant: string, headers: { name: string; value: string }[] = []) {
  const input = { tenant, url: 'https://example.com', eventTypes: ['*'], headers };
  const { data } = await api.run(CREATE, { input });
  return expectType(data?.createWebhookSubscription, 'CreateWebhookSubscriptionPayload');
}

describe('authorization', () => {
  test.each([undefined, 'Bearer wrong', `Basic ${ADMIN_KEY}`])(
    '%j is 401 UNAUTHENTICATED, for queries and mutations',
    async (authorization) => {
      for (const query of [
        '{ __typename }',
        'mutation { deleteWebhookSubscription(id: "x") { __typename } }',
        '{ syntax error',
      ]) {
        const answer = await post(
          api.graphql,
          JSON.stringify({ query }),
          authorization === undefined ? {} : { authorization },
        );
        expect(answer).toMatchObject({ status: 401, errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
        expect(answer.data).toBeUndefined();
      }
    },
  );

  test('no other origin gets a CORS header that lets it read', async () => {
    const headers = { origin: 'https://evil.example', authorization: `Bearer ${ADMIN_KEY}` };
    const response = await api.graphql.fetch('http://test/graphql?query={__typename}', { headers });
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

describe('connections', () => {
  const pageOf = async (tenant: string, args: object) => {
    const { data } = await api.run(SUBSCRIPTIONS, { filter: { tenant }, ...args });
    if (data == null) throw new Error('no data');
    return {
      ids: data.webhookSubscriptions.edges.map(({ node }) => node.id),
      info: data.webhookSubscriptions.pageInfo,
    };
  };

  test('pages lead through everything, newest first, forwards and backwards', async () => {
    const made: string[] = [];
    for (let n = 0; n < 5; n += 1) made.unshift((await create('pages')).subscription.id);
    const page = (args: object) => pageOf('pages', args);
    const all = await page({});
    expect([...all.ids].sort()).toEqual([...made].sort());
    expect(all.ids).toEqual([...all.ids].sort().reverse());
    const first = await page({ first: 2 });
    const second = await page({ first: 2, after: first.info.endCursor });
    const third = await page({ first: 2, after: second.info.endCursor });
    expect([...first.ids, ...second.ids, ...third.ids]).toEqual(all.ids);
    expect([first, second, third].map(({ info }) => info.hasNextPage)).toEqual([true, true, false]);
    expect((await page({ last: 2, before: third.info.startCursor })).ids).toEqual(second.ids);
  });

  test('rows created between two pages do not change the following pages', async () => {
    const made: string[] = [];
    const make = async () => made.unshift((await create('growing')).subscription.id);
    const page = (args: object) => pageOf('growing', args);
    for (let n = 0; n < 6; n += 1) await make();
    const before = [...made];
    const first = await page({ first: 2 });
    await make();
    const second = await page({ first: 2, after: first.info.endCursor });
    await make();
    const third = await page({ first: 2, after: second.info.endCursor });
    expect([first, second, third].map(({ ids }) => ids)).toEqual([0, 2, 4].map((at) => before.slice(at, at + 2)));
    expect(third.info.hasNextPage).toBe(false);

    const last = await page({ last: 2 });
    await make();
    const beforeLast = await page({ last: 2, before: last.info.startCursor });
    await make();
    const firstOnes = await page({ last: 2, before: beforeLast.info.startCursor });
    expect([last, beforeLast, firstOnes].map(({ ids }) => ids)).toEqual([third.ids, second.ids, first.ids]);
    // Rows created since then come before this page.
    expect(firstOnes.info.hasPreviousPage).toBe(true);
    expect((await page({ last: 10, before: firstOnes.info.startCursor })).ids).toEqual(made.slice(0, 4));
  });

  test.each([
    ['first: 251', 'first'],
    ['last: 251', 'last'],
    ['after: "nonsense"', 'after'],
    [`after: "${Buffer.from('GPC:S:no-uuid').toString('base64')}"`, 'after'],
    ['first: -1', 'first'],
    ['first: 1, before: "x"', 'before'],
    ['last: 1, after: "x"', 'after'],
  ])('(%s) is INVALID_INPUT', async (args, path) => {
    const { errors } = await post(
      api.graphql,
      JSON.stringify({ query: `{ deliveries(${args}) { edges { cursor } } }` }),
    );
    expect(errors).toMatchObject([{ extensions: { code: 'INVALID_INPUT', problems: [{ path }] } }]);
    expect(errors?.[0]?.message).toContain(path);
  });

  test.each([
    ['webhookSubscriptions', 'subscriptionIds', { type: 'WebhookSubscriptionFilter', value: randomUUID() }],
    ['rejectedEvents', 'reasons', { type: 'RejectedEventFilter', value: 'TOO_LARGE' }],
    ['events', 'eventTypes', { type: 'EventFilter', value: 'a.b' }],
    ['deliveries', 'subscriptionIds', { type: 'DeliveryFilter', value: randomUUID() }],
    ['deliveryLog', 'statuses', { type: 'DeliveryFilter', value: 'SUCCESS' }],
  ])('the filter of %s has at most 250 %s', async (field, list, { type, value }) => {
    const ask = async (length: number) => {
      const query = `query ($filter: ${type}) { ${field}(filter: $filter) { nodes { id } } }`;
      const variables = { filter: { [list]: Array<string>(length).fill(value) } };
      return post(api.graphql, JSON.stringify({ query, variables }));
    };
    expect((await ask(250)).errors).toBeUndefined();
    for (const length of [251, 9_000]) {
      const { errors } = await ask(length);
      expect(errors).toMatchObject([{ extensions: { code: 'INVALID_INPUT' } }]);
      expect(errors?.[0]?.message).toBe(`filter.${list} may have at most 250 entries`);
    }
  });

  test('a page has 250 rows at most, and 50 by default', async () => {
    const { subscription } = await create('many');
    const delivery = await seedDelivery(api.database, { subscriptionId: subscription.id, tenant: 'many' });
    for (let number = 1; number <= 51; number += 1) await storeAttempt(api.database, attemptOf(delivery, { number }));
    const sizes = [undefined, 250].map(async (first) => {
      const { data } = await api.run(DELIVERY_LOG, {
        filter: { tenant: 'many' },
        ...(first !== undefined && { first }),
      });
      return data?.deliveryLog.edges.length;
    });
    expect(await Promise.all(sizes)).toEqual([50, 51]);
  });

  test('a page continues after a deleted replay, and no cursor reveals rows of another tenant', async () => {
    const { pool } = api.database;
    const ids: string[] = [];
    for (const tenant of ['mine', 'mine', 'mine', 'theirs', 'mine', 'mine']) {
      const { rows } = await pool.query<{ id: string }>(
        `INSERT INTO replays (id, tenant, status, filter, rate_per_second, delivery_count)
         VALUES ($1, $2, 'COMPLETED', '{}', 1, 0) RETURNING id`,
        [uuid7(1_000 + ids.length), tenant],
      );
      ids.push(rows[0]?.id ?? '');
    }
    const [first, second, third, theirs] = ids;
    const after = async (id = '') => {
      const cursor = Buffer.from(`GPC:S:${id}`).toString('base64');
      const query = `{ replays(filter: { tenant: "mine" }, after: "${cursor}") { nodes { id } } }`;
      const { data } = await post<{ replays: { nodes: { id: string }[] } }>(api.graphql, JSON.stringify({ query }));
      return data?.replays.nodes.map(({ id }) => id);
    };
    await pool.query('DELETE FROM replays WHERE id = $1', [third]);
    expect(await after(third)).toEqual([second, first]);
    expect(await after(theirs)).toEqual([second, first]);
    expect(await after(uuid7(1_003))).toEqual([second, first]);
  });

  test('an attempt older than its delivery, and a delivery older than its event, are shown despite wrong clocks', async () => {
    const { subscription } = await create('clocks');
    const now = Date.now();
    const of = { subscriptionId: subscription.id, tenant: 'clocks', timeMs: now };
    const delivery = await seedDelivery(api.database, of);
    const attempt = await storeAttempt(api.database, attemptOf(delivery, { startedAt: new Date(now - 30_000) }));
    const early = await api.database.prisma.delivery.create({
      data: {
        id: uuid7(now - 30_000),
        tenant: 'clocks',
        subscriptionId: subscription.id,
        eventId: delivery.eventId,
        eventType: delivery.eventType,
      },
    });
    const query = `{ delivery(id: "${delivery.id}") { attempts { nodes { id } }
      event { deliveries { nodes { id } } considered { nodes { delivery { id } } } } } }`;
    const { data } = await post(api.graphql, JSON.stringify({ query }));
    expect(data).toEqual({
      delivery: {
        attempts: { nodes: [{ id: attempt.id }] },
        event: {
          deliveries: { nodes: [{ id: delivery.id }, { id: early.id }] },
          considered: { nodes: [{ delivery: { id: early.id } }] },
        },
      },
    });
  });

  test('nested connections are bounded together, even with variables and fragments', async () => {
    const query = `query ($n: Int) { a: deliveryLog(first: $n) { ...F } }
      fragment F on AttemptConnection { nodes { delivery { attempts(first: $n) { nodes { delivery { attempts(first: $n) { nodes { id } } } } } } } }`;
    const { errors } = await post(api.graphql, JSON.stringify({ query, variables: { n: 250 } }));
    expect(errors?.[0]).toMatchObject({ extensions: { code: 'LIMIT_EXCEEDED', limit: 'cost' } });
  });
});

/** Sets the id that the publisher would have set. */
async function giveEventId(data: { tenant: string; eventRowId: string; eventId: string }): Promise<void> {
  const { eventRowId, eventId } = data;
  await api.database.prisma.event.update({ where: { id: eventRowId }, data: { eventId } });
  await api.database.prisma.eventId.create({ data });
}

test('an event id belongs to one tenant only', async () => {
  for (const tenant of ['one', 'two']) {
    const { subscription } = await create(tenant);
    const delivery = await seedDelivery(api.database, { subscriptionId: subscription.id, tenant });
    await giveEventId({ tenant, eventRowId: delivery.eventId, eventId: 'shared' });
  }
  for (const tenant of ['one', 'two']) {
    const { data } = await api.run(EVENT, { id: 'shared', tenant });
    expect(data?.event).toMatchObject({ id: 'shared', tenant, data: { n: 1 }, deliveries: { edges: [{}] } });
  }
  expect((await api.run(EVENT, { id: 'shared', tenant: 'three' })).data).toEqual({ event: null });
  expect((await api.run(EVENT, { id: 'sh\0red' })).data).toEqual({ event: null });
});

test('no field of any query shows a secret or the value of a header', async () => {
  const { subscription, secret } = await create('secretive', [{ name: 'Authorization', value: 'canary-header-value' }]);
  const rotated = await api.run(ROTATE, { id: subscription.id });
  const newSecret = expectType(rotated.data?.rotateWebhookSecret, 'RotateWebhookSecretPayload').secret;
  const delivery = await seedDelivery(api.database, { subscriptionId: subscription.id, tenant: 'secretive' });
  await storeAttempt(api.database, attemptOf(delivery, { requestHeaders: { authorization: '[redacted]' } }));
  const roots = ['webhookSubscriptions', 'deliveries', 'deliveryLog', 'events', 'rejectedEvents'];
  const schema = buildSchema(await readFile(new URL('../../schema.graphql', import.meta.url), 'utf8'));
  const fields = schema.getQueryType()?.getFields() ?? {};
  const answers = [];
  for (const root of roots) {
    const query = `{ ${root}(first: 5) ${everything(fields[root]?.type, 4)} }`;
    const { errors, data } = await post(api.graphql, JSON.stringify({ query }));
    expect(errors).toBeUndefined();
    answers.push(data);
  }
  const text = JSON.stringify(answers);
  expect(text).toContain(subscription.id);
  expect(text).toContain('"headerNames":["Authorization"]');
  const sealed = await api.database.prisma.signingSecret.findMany({ where: { subscriptionId: subscription.id } });
  const row = await api.database.prisma.webhookSubscription.findUniqueOrThrow({ where: { id: subscription.id } });
  const secrets = [
    secret,
    newSecret,
    'canary-header-value',
    row.encryptedHeaders,
    ...sealed.map((s) => s.encryptedSecret),
  ];
  for (const value of secrets) {
    expect(text).not.toContain(value?.replace('whsec_', ''));
    expect(api.logged()).not.toContain(value?.replace('whsec_', ''));
  }
});

/** Selects all fields without required arguments, `depth` objects deep, except `nodes`. Inner lists have two rows. */
function everything(type: GraphQLOutputType | undefined, depth: number): string {
  const named = type === undefined ? undefined : getNamedType(type);
  if (!isObjectType(named)) throw new Error('not an object');
  const fields = Object.values(named.getFields()).flatMap((field) => {
    if (isLeafType(getNamedType(field.type))) return [field.name];
    if (depth === 0 || field.name === 'nodes' || field.args.some(isRequiredArgument)) return [];
    const isPaged = field.args.some(({ name }) => name === 'first');
    return [`${field.name}${isPaged ? '(first: 2)' : ''} ${everything(field.type, depth - 1)}`];
  });
  return `{ ${['__typename', ...fields].join(' ')} }`;
}

describe('errors', () => {
  test('an internal error is masked, with an id that is in the log', async () => {
    const { subscription } = await create('faulty');
    const delivery = await seedDelivery(api.database, { subscriptionId: subscription.id, tenant: 'faulty' });
    await api.database.prisma.event.update({
      where: { id: delivery.eventId },
      data: { data: Buffer.from('{hunter2') },
    });
    await giveEventId({ tenant: 'faulty', eventRowId: delivery.eventId, eventId: 'broken' });
    const { errors } = await api.run(EVENT, { id: 'broken' });
    expect(errors).toMatchObject([{ extensions: { code: 'INTERNAL_SERVER_ERROR' } }]);
    expect(JSON.stringify(errors)).not.toContain('hunter2');
    expect(api.logged()).toContain(String(errors?.[0]?.extensions?.['correlationId']));
  });

  test('a body of more than 2 MB and batching are rejected', async () => {
    const big = JSON.stringify({ query: '{ __typename }', variables: { x: 'x'.repeat(2 * 1024 * 1024) } });
    expect((await post(api.graphql, big)).status).toBe(413);
    expect((await post(api.graphql, '[{"query":"{ __typename }"}]')).status).toBe(400);
  });

  test('while Postgres is unavailable, the error says so, and afterwards all operations work again', async () => {
    const target = new URL(api.databaseUrl);
    const port = await findOwnPort();
    let proxy = await startProxy(Number(target.port), port);
    target.port = String(port);
    const own = await startApi(target.href);
    try {
      expect((await own.run(SUBSCRIPTIONS, {})).errors).toBeUndefined();
      await proxy.stop();
      const away = await own.run(SUBSCRIPTIONS, {});
      expect(away.errors).toMatchObject([{ extensions: { code: 'SERVICE_UNAVAILABLE' } }]);
      expect(away.errors?.[0]?.message).toContain('database');
      const input = { tenant: 'acme', url: 'https://example.com', eventTypes: ['*'] };
      expect((await own.run(CREATE, { input })).errors).toMatchObject([
        { extensions: { code: 'SERVICE_UNAVAILABLE' } },
      ]);
      expect((await own.run(ROTATE, { id: '00000000-0000-7000-8000-000000000000' })).errors).toMatchObject([
        { extensions: { code: 'SERVICE_UNAVAILABLE' } },
      ]);
      proxy = await startProxy(Number(new URL(api.databaseUrl).port), port);
      await waitFor(async () => (await own.run(SUBSCRIPTIONS, {})).errors === undefined, { what: 'recovery' });
    } finally {
      await own.stop();
      await proxy.stop();
    }
  });
});

type Proxy = { readonly port: number; stop(): Promise<void> };

/** Starts a TCP proxy to a port of this machine; a test can close its connections. */
async function startProxy(targetPort: number, port: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((incoming) => {
    const outgoing = connectSocket(targetPort, new URL(api.databaseUrl).hostname);
    for (const socket of [incoming, outgoing]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
    incoming.pipe(outgoing).pipe(incoming);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const stop = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { port: address.port, stop };
}
