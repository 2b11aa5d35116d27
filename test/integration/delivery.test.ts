import { connect } from 'node:net';
import { verify } from '@octokit/webhooks-methods';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MAX_HEADER_BYTES } from '../../src/nats/headers.ts';
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

async function eventIsRecorded(eventId: string): Promise<void> {
  await waitFor(
    async () => (await services.query('SELECT 1 FROM events WHERE event_id = $1', [eventId])).length === 1,
    { what: `event ${eventId} in Postgres` },
  );
}

describe('fan-out', () => {
  it('an event creates one delivery for each matching subscription', async () => {
    const receiver = await receive();
    const wanted = [
      ['conversation.created'],
      ['conversation.*'],
      ['*'],
      ['*', 'conversation.*', 'conversation.created'],
    ];
    const matching = await Promise.all(
      wanted.map((eventTypes) => app.subscribe({ url: `${receiver.url}/yes`, eventTypes })),
    );
    const others = await Promise.all(
      [['conversation'], ['conversation.created.*'], ['message.*']].map((eventTypes) =>
        app.subscribe({ url: `${receiver.url}/no`, eventTypes }),
      ),
    );
    const stranger = await app.subscribe({ url: `${receiver.url}/no`, tenant: 'globex' });
    const before = await services.storedIn('DELIVERIES');
    await services.publish('events.acme.conversation.created', '{}', { 'Nats-Msg-Id': 'fan-out' });
    await receiver.waitForRequests(matching.length);
    for (const { id } of matching) await deliveryWith(services, id, 'SUCCESS');
    for (const { id } of matching) expect(await deliveriesOf(services, id)).toHaveLength(1);
    for (const { id } of [...others, stranger]) expect(await deliveriesOf(services, id)).toEqual([]);
    expect((await services.storedIn('DELIVERIES')) - before).toBe(matching.length);
    expect(receiver.requests.every((request) => request.path === '/yes')).toBe(true);
    await waitFor(async () => (await services.unackedBy('EVENTS', 'dispatcher')) === 0, {
      what: 'the event to be acked',
    });
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'the deliveries to be acked' });
  });

  it('an inactive subscription is ignored', async () => {
    const receiver = await receive();
    const inactive = await app.subscribe({ url: `${receiver.url}/inactive`, isActive: false });
    const active = await app.subscribe({ url: `${receiver.url}/active` });
    await services.publish('events.acme.conversation.created', '{}');
    await deliveryWith(services, active.id, 'SUCCESS');
    expect(await deliveriesOf(services, inactive.id)).toEqual([]);
    expect(receiver.requests.map((request) => request.path)).toEqual(['/active']);
  });

  it('an event without matching subscriptions creates no delivery', async () => {
    const before = await services.storedIn('DELIVERIES');
    await services.publish('events.nobody.conversation.created', '{}', { 'Nats-Msg-Id': 'lonely' });
    await eventIsRecorded('lonely');
    expect(await services.query(`SELECT 1 FROM deliveries WHERE tenant = 'nobody'`)).toEqual([]);
    expect(await services.storedIn('DELIVERIES')).toBe(before);
  });

  it('two messages with the same event id are one event, at any distance and with other events between them', async () => {
    const receiver = await receive();
    const { id } = await app.subscribe({ url: receiver.url, eventTypes: ['twice', 'end'] });
    for (const body of ['{"n":1}', '{"n":2}']) {
      await services.publish('events.acme.twice', body, { 'Nats-Msg-Id': 'same' });
      await eventIsRecorded('same');
      // Longer than JetStream's duplicate window, so that Postgres must detect the duplicate.
      await services.query('SELECT pg_sleep(0.2)');
    }
    await services.publish('events.acme.end', '{}');
    await waitFor(() => receiver.requests.some(({ headers }) => headers['webhook-event'] === 'end'), {
      what: 'the end',
    });
    expect(await deliveriesOf(services, id)).toHaveLength(2);
    expect(receiver.requests.filter(({ headers }) => headers['webhook-id'] === 'same')).toHaveLength(1);
  });

  it('two tenants may use the same event id', async () => {
    const receiver = await receive();
    const [acme, globex] = [
      await app.subscribe({ url: receiver.url }),
      await app.subscribe({ url: receiver.url, tenant: 'globex' }),
    ];
    // CloudEvents, because JetStream would drop the second of two messages with the same Nats-Msg-Id.
    const headers = { 'ce-specversion': '1.0', 'ce-id': 'shared', 'ce-source': '/s', 'ce-type': 'a' };
    await services.publish('events.acme.a', '{}', headers);
    await services.publish('events.globex.a', '{}', headers);
    await deliveryWith(services, acme.id, 'SUCCESS');
    await deliveryWith(services, globex.id, 'SUCCESS');
  });

  it('an invalid event is recorded with its reason and delays no other event', async () => {
    const receiver = await receive();
    const { id } = await app.subscribe({ url: receiver.url });
    await services.publish('events.acme.bad', 'not json', {});
    await services.publish('events.acme.bad', '{}', { 'Occurred-At': 'yesterday' });
    await services.publish('events.no-type', '{}');
    await publishUnreadableHeader(services.nats.port, 'events.acme.bad');
    await services.publish('events.acme.large', '{}', { 'X-Source': 'x'.repeat(MAX_HEADER_BYTES) });
    await services.publish('events.acme.good', '{}');
    await deliveryWith(services, id, 'SUCCESS');
    const { rejectedEvents } = await app.graphql<{
      rejectedEvents: { edges: { node: { reason: string; subject: string } }[] };
    }>('{ rejectedEvents { edges { node { tenant subject reason message sizeBytes } } } }');
    // In any order: both may have been received within a millisecond.
    expect(
      rejectedEvents.edges
        .map(({ node }) => node)
        .toSorted((a, b) => (a.reason + a.subject < b.reason + b.subject ? -1 : 1)),
    ).toMatchObject([
      { tenant: 'acme', subject: 'events.acme.bad', reason: 'INVALID_HEADERS' },
      { tenant: 'acme', subject: 'events.acme.large', reason: 'INVALID_HEADERS' },
      { tenant: 'acme', subject: 'events.acme.bad', reason: 'INVALID_JSON', sizeBytes: 8 },
      { tenant: 'acme', subject: 'events.acme.bad', reason: 'INVALID_OCCURRED_AT' },
      { tenant: 'no-type', subject: 'events.no-type', reason: 'INVALID_SUBJECT' },
    ]);
    expect(await deliveriesOf(services, id)).toHaveLength(1);
  });
});

/** Publishes a header name with a space. No client sends it, but nats-server accepts it. */
async function publishUnreadableHeader(port: number, subject: string): Promise<void> {
  const head = 'NATS/1.0\r\nX Source: billing\r\n\r\n';
  const socket = connect(port, '127.0.0.1');
  socket.write(
    `CONNECT {"verbose":false,"headers":true}\r\nHPUB ${subject} ${head.length} ${head.length + 2}\r\n${head}{}\r\nPING\r\n`,
  );
  let answer = '';
  socket.on('data', (chunk) => {
    answer += String(chunk);
  });
  await waitFor(() => answer.includes('PONG'), { what: 'nats-server to take the message' });
  socket.destroy();
}

describe('sending', () => {
  it('the sender POSTs with a correct `X-Hub-Signature-256` and payload', async () => {
    const receiver = await receive();
    const headers = [{ name: 'X-Team', value: 'chat' }];
    const { id, secret } = await app.subscribe({ url: `${receiver.url}/hook?a=1`, headers });
    const data = '{"text": "héllo", "n": 1.0}';
    const published = { 'Nats-Msg-Id': 'msg-1', 'Occurred-At': '2026-01-31T12:00:00.5Z' };
    await services.publish('events.acme.NEW_MESSAGE_FROM_VISITOR', data, published);
    const [request] = await receiver.waitForRequests(1);
    if (request === undefined) throw new Error('nothing arrived');
    const body = request.rawBody.toString();
    expect(body).toBe(
      `{"id":"msg-1","type":"NEW_MESSAGE_FROM_VISITOR","timestamp":"2026-01-31T12:00:00.500Z","data":${data}}`,
    );
    const [delivery] = await deliveriesOf(services, id);
    expect(request).toMatchObject({ method: 'POST', path: '/hook?a=1' });
    expect(request.headers).toMatchObject({
      'content-type': 'application/json',
      'content-length': String(request.rawBody.length),
      'webhook-id': 'msg-1',
      'webhook-event': 'NEW_MESSAGE_FROM_VISITOR',
      'webhook-delivery': delivery?.id,
      'webhook-attempt': '1',
      'x-team': 'chat',
    });
    expect(request.headers['user-agent']).toMatch(/^webhooks-engine\/\d+\.\d+\.\d+$/);
    // `as`: these headers have one value each. Neither library accepts the arrays of Node.
    const text = request.headers as Record<string, string>;
    expect(await verify(secret, body, text['x-hub-signature-256'] ?? '')).toBe(true);
    expect(await verify(secret, `${body} `, text['x-hub-signature-256'] ?? '')).toBe(false);
    expect(new Webhook(secret).verify(body, text)).toMatchObject({ id: 'msg-1' });
    expect(() => new Webhook(secret).verify(`${body} `, text)).toThrow();
  });

  it('a success is recorded as SUCCESS', async () => {
    const answer = {
      status: 201,
      headers: { 'X-Request-Id': 'r-1', 'Set-Cookie': 'session=hush' },
      body: 'x'.repeat(30_000),
    };
    const receiver = await receive(() => answer);
    const headers = [{ name: 'Authorization', value: 'Bearer hush' }];
    const { id, secret } = await app.subscribe({ url: receiver.url, headers });
    await services.publish('events.acme.conversation.created', '{"a":1}');
    await deliveryWith(services, id, 'SUCCESS');
    const [attempt, ...more] = await logOf(app, id);
    expect(more).toEqual([]);
    expect(attempt).toMatchObject({
      number: 1,
      status: 'SUCCESS',
      failureReason: null,
      statusCode: 201,
      errorMessage: null,
      payloadSizeBytes: receiver.requests[0]?.rawBody.length,
      responseBodyTruncated: true,
      responseHeaders: { 'x-request-id': 'r-1' },
      requestHeaders: { 'webhook-attempt': '1', 'content-type': 'application/json' },
      delivery: { status: 'SUCCESS', attemptCount: 1, nextAttemptAt: null, waitingFor: null },
    });
    expect(attempt?.responseBody).toBe('x'.repeat(20_000));
    for (const text of ['hush', secret.slice(6, 20), 'v1,']) expect(JSON.stringify(attempt)).not.toContain(text);
  });

  it('an attempt shows the sent request and its URL, even after a change of the URL', async () => {
    const receiver = await receive();
    const { id } = await app.subscribe({ url: `${receiver.url}/old` });
    const data = '{"n": 12345678901234567890, "n": 1.0}';
    await services.publish('events.acme.conversation.created', data, { 'Event-Id': 'traced' });
    await deliveryWith(services, id, 'SUCCESS');
    await app.graphql(`mutation { updateWebhookSubscription(id: "${id}", input: { url: "${receiver.url}/new" }) {
      ... on UpdateWebhookSubscriptionPayload { subscription { id } } } }`);
    const [row] = await services.query<{ id: string }>('SELECT id FROM attempts WHERE subscription_id = $1', [id]);
    const { attempt, event } = await app.graphql<Record<'attempt' | 'event', Record<string, unknown>>>(
      `query ($id: ID!) { attempt(id: $id) { url remoteAddress requestBody startedAt loggedAt
          timing { dnsMs connectMs tlsMs firstByteMs bodyMs } }
        event(id: "traced") { dataText sizeBytes source summary { pending success failure cancelled isExact } } }`,
      { id: row?.id },
    );
    const ms = expect.any(Number) as unknown;
    expect(attempt).toEqual({
      url: `${receiver.url}/old`,
      remoteAddress: '127.0.0.1',
      requestBody: receiver.requests[0]?.rawBody.toString(),
      startedAt: expect.any(String) as unknown,
      loggedAt: expect.any(String) as unknown,
      timing: { dnsMs: ms, connectMs: ms, tlsMs: null, firstByteMs: ms, bodyMs: ms },
    });
    expect(Date.parse(String(attempt['loggedAt']))).toBeGreaterThanOrEqual(Date.parse(String(attempt['startedAt'])));
    expect(event).toEqual({
      dataText: data,
      sizeBytes: data.length,
      source: 'NATS',
      summary: { pending: 0, success: 1, failure: 0, cancelled: 0, isExact: true },
    });
  });

  it('connections are kept alive between attempts', async () => {
    const receiver = await receive();
    const { id } = await app.subscribe({ url: receiver.url });
    for (let count = 1; count <= 5; count += 1) {
      await services.publish('events.acme.conversation.created', '{}');
      await waitFor(
        async () => (await deliveriesOf(services, id)).filter((row) => row.status === 'SUCCESS').length === count,
        {
          what: `${count} successes`,
        },
      );
    }
    expect(receiver.requests).toHaveLength(5);
    expect(receiver.connectionCount()).toBe(1);
  });

  it('concurrent deliveries to many targets all arrive', async () => {
    const targets = await Promise.all(Array.from({ length: 20 }, () => receive()));
    await Promise.all(targets.map(({ url }) => app.subscribe({ url, eventTypes: ['many'] })));
    await Promise.all(
      Array.from({ length: 25 }, (_, n) =>
        services.publish('events.acme.many', `{"n":${n}}`, { 'Nats-Msg-Id': `many-${n}` }),
      ),
    );
    for (const target of targets) {
      const requests = await target.waitForRequests(25);
      expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(25);
      expect(requests).toHaveLength(25);
    }
  });

  it('an event of 1 MiB arrives, with its data read from Postgres', async () => {
    const receiver = await receive();
    const { id } = await app.subscribe({ url: receiver.url });
    const data = `"${'x'.repeat(1024 * 1024 - 2)}"`;
    await services.publish('events.acme.large', data);
    await deliveryWith(services, id, 'SUCCESS');
    expect(receiver.requests[0]?.rawBody.toString()).toContain(`"data":${data}}`);
  });

  it('a change applies to every event published after the answer to the mutation', async () => {
    const receiver = await receive();
    const { id } = await app.subscribe({ url: `${receiver.url}/0` });
    for (let n = 1; n <= 10; n += 1) {
      await app.graphql(
        `mutation ($id: ID!, $url: String!) { updateWebhookSubscription(id: $id, input: { url: $url }) { __typename } }`,
        { id, url: `${receiver.url}/${n}` },
      );
      await services.publish('events.acme.conversation.created', '{}');
      await receiver.waitForRequests(n);
      expect(receiver.requests.at(-1)?.path).toBe(`/${n}`);
    }
  });
});

describe('rotation', () => {
  it('both secrets sign until the old one expires; without an overlap, only the new one signs at once', async () => {
    const receiver = await receive();
    const { id, secret: first } = await app.subscribe({ url: receiver.url });
    const second = await rotate(id, 3_600);
    await services.publish('events.acme.conversation.created', '{}');
    const [overlapping] = await receiver.waitForRequests(1);
    const third = await rotate(id, 0);
    await services.publish('events.acme.conversation.created', '{}');
    const [, after] = await receiver.waitForRequests(2);
    const accepts = (secret: string, request: (typeof receiver.requests)[number] | undefined) => {
      try {
        new Webhook(secret).verify(request?.rawBody.toString() ?? '', request?.headers as Record<string, string>);
        return true;
      } catch {
        return false;
      }
    };
    expect([first, second, third].map((secret) => accepts(secret, overlapping))).toEqual([true, true, false]);
    expect([first, second, third].map((secret) => accepts(secret, after))).toEqual([false, false, true]);
    const hub = String(overlapping?.headers['x-hub-signature-256']);
    expect(await verify(second, overlapping?.rawBody.toString() ?? '', hub)).toBe(true);
  });

  async function rotate(id: string, overlapSeconds: number): Promise<string> {
    const { rotateWebhookSecret } = await app.graphql<{ rotateWebhookSecret: { secret: string } }>(
      `mutation ($id: ID!, $overlapSeconds: Int!) { rotateWebhookSecret(id: $id, overlapSeconds: $overlapSeconds) {
        ... on RotateWebhookSecretPayload { secret } } }`,
      { id, overlapSeconds },
    );
    return rotateWebhookSecret.secret;
  }
});

describe('a test event', () => {
  it('is delivered like any event, to this subscription only, regardless of its event types', async () => {
    const receiver = await receive();
    const { id, secret } = await app.subscribe({ url: receiver.url, eventTypes: ['never.*'] });
    await app.subscribe({ url: `${receiver.url}/other` });
    const { sendTestEvent } = await app.graphql<{ sendTestEvent: { delivery: { id: string; event: object } } }>(
      `mutation ($id: ID!) { sendTestEvent(subscriptionId: $id, eventType: "conversation.created", data: { hello: "world" }) {
        ... on SendTestEventPayload { delivery { id status event { type data source } } } } }`,
      { id },
    );
    const [request] = await receiver.waitForRequests(1);
    expect(request?.headers).toMatchObject({
      'webhook-event': 'conversation.created',
      'webhook-delivery': sendTestEvent.delivery.id,
    });
    expect(
      new Webhook(secret).verify(request?.rawBody.toString() ?? '', request?.headers as Record<string, string>),
    ).toMatchObject({
      data: { hello: 'world' },
    });
    expect(sendTestEvent.delivery.event).toMatchObject({ source: 'TEST' });
    await deliveryWith(services, id, 'SUCCESS');
    expect(receiver.requests).toHaveLength(1);
  });
});
