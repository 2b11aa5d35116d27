import { afterAll, beforeAll, expect, it } from 'vitest';
import { startDnsServer } from '../support/dns-server.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let receiver: Receiver;

beforeAll(async () => {
  services = await startTestServices();
  receiver = await startReceiver();
});

afterAll(async () => {
  await receiver.close();
  await services.stop();
});

const CREATE = `mutation ($input: CreateWebhookSubscriptionInput!) {
  result: createWebhookSubscription(input: $input) {
    ... on CreateWebhookSubscriptionPayload { secret subscription { id tenant url eventTypes isActive timeoutMs } }
    ... on Error { code message }
  }
}`;

const UPDATE = `mutation ($id: ID!, $url: String!) {
  result: updateWebhookSubscription(id: $id, input: { url: $url }) {
    ... on UpdateWebhookSubscriptionPayload { subscription { url } }
    ... on Error { code message }
  }
}`;

type Result = {
  readonly result: { readonly secret?: string; readonly code?: string; readonly subscription?: { id: string } };
};

const INTERNAL = [
  'http://127.0.0.1/',
  'http://localhost/',
  'http://2130706433/',
  'http://0x7f.1/',
  'http://[::1]/',
  'http://[::ffff:127.0.0.1]/',
  'http://10.0.0.1/',
  'http://172.16.0.1/',
  'http://192.168.1.1/',
  'http://169.254.169.254/latest/meta-data/',
  'http://100.64.0.1/',
  'http://0.0.0.0/',
  'http://[fe80::1]/',
  'http://[fd00:ec2::254]/',
  'http://[64:ff9b::a9fe:a9fe]/',
  'http://[2002:7f00:1::]/',
];

async function withApp(env: Record<string, string>, work: (app: TestApp) => Promise<void>): Promise<void> {
  const app = await startTestApp(services, { env });
  try {
    await work(app);
  } finally {
    await app.stop();
  }
}

async function firstAttempt(app: TestApp, id: string): Promise<Record<string, unknown>> {
  return waitFor(
    async () => {
      const { deliveryLog } = await app.graphql<{ deliveryLog: { edges: { node: Record<string, unknown> }[] } }>(
        `query ($id: ID!) { deliveryLog(filter: { subscriptionIds: [$id] }) { edges { node {
          number status failureReason statusCode errorMessage } } } }`,
        { id },
      );
      return deliveryLog.edges.at(-1)?.node;
    },
    { what: 'the attempt' },
  );
}

it('creates a valid subscription with a generated secret', async () => {
  await withApp({}, async (app) => {
    const input = { tenant: 'acme', url: 'https://example.com/hook', eventTypes: ['conversation.*'] };
    const { result } = await app.graphql<Result>(CREATE, { input });
    expect(result).toMatchObject({ subscription: { ...input, isActive: true, timeoutMs: 5_000 } });
    expect(Buffer.from(/^whsec_(.+)$/.exec(result.secret ?? '')?.[1] ?? '', 'base64')).toHaveLength(32);
    const stored = await services.query('SELECT * FROM signing_secrets');
    expect(stored).toHaveLength(1);
    expect(JSON.stringify(stored)).not.toContain(result.secret?.slice(6));
  });
});

it('an internal target is rejected at creation and blocked at delivery', async () => {
  const ids: string[] = [];
  await withApp({}, async (app) => {
    const { id } = await app.subscribe({ url: receiver.url });
    ids.push(id);
  });
  await withApp({ EGRESS_ALLOW_CIDRS: '' }, async (app) => {
    for (const url of INTERNAL) {
      const { result } = await app.graphql<Result>(CREATE, { input: { tenant: 'acme', url, eventTypes: ['*'] } });
      expect(result, url).toMatchObject({ code: 'TARGET_REJECTED' });
      const { result: change } = await app.graphql<Result>(UPDATE, { id: ids[0], url });
      expect(change, url).toMatchObject({ code: 'TARGET_REJECTED' });
    }
    await services.publish('events.acme.a', '{}');
    expect(await firstAttempt(app, ids[0] ?? '')).toMatchObject({
      status: 'FAILURE',
      failureReason: 'BLOCKED_TARGET',
      statusCode: null,
    });
  });
  expect(receiver.connectionCount()).toBe(0);
  await services.query('UPDATE webhook_subscriptions SET is_active = false');
});

it('a denied port is rejected at creation and blocked at delivery, even for test events', async () => {
  const { port } = new URL(receiver.url);
  let id = '';
  await withApp({}, async (app) => {
    ({ id } = await app.subscribe({ url: receiver.url }));
  });
  await withApp({ EGRESS_DENY_PORTS: `25,${port}` }, async (app) => {
    const expected = { code: 'TARGET_REJECTED', message: `the port ${port} is not allowed for webhooks` };
    const input = { tenant: 'acme', url: `https://example.com:${port}/`, eventTypes: ['*'] };
    expect((await app.graphql<Result>(CREATE, { input })).result).toEqual(expected);
    expect((await app.graphql<Result>(UPDATE, { id, url: receiver.url })).result).toEqual(expected);
    await app.graphql('mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) { __typename } }', { id });
    expect(await firstAttempt(app, id)).toMatchObject({
      failureReason: 'BLOCKED_TARGET',
      errorMessage: 'the port of the target is not allowed',
    });
  });
  expect(receiver.connectionCount()).toBe(0);
  await services.query('UPDATE webhook_subscriptions SET is_active = false');
});

it('a name that resolves to an internal address is blocked at delivery, even for test events', async () => {
  const dns = await startDnsServer(() => ({ addresses: ['127.0.0.1'] }));
  try {
    await withApp({ EGRESS_ALLOW_CIDRS: '', EGRESS_DNS_SERVERS: dns.address }, async (app) => {
      const url = `http://hooks.customer.example:${new URL(receiver.url).port}/`;
      const { id } = await app.subscribe({ url });
      await app.graphql('mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) { __typename } }', { id });
      expect(await firstAttempt(app, id)).toMatchObject({ status: 'FAILURE', failureReason: 'BLOCKED_TARGET' });
    });
  } finally {
    await dns.close();
  }
  expect(dns.questions.length).toBeGreaterThan(0);
  expect(receiver.connectionCount()).toBe(0);
});
