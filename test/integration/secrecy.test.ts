import { readFileSync } from 'node:fs';
import { buildSchema, GraphQLObjectType, getNamedType, isLeafType, isRequiredArgument } from 'graphql';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { type EngineProcess, startEngineProcess } from '../support/engine-process.ts';
import { HOSTILITIES, type HostileReceiver, startHostileReceiver } from '../support/hostile-receiver.ts';
import { type Receiver, type Respond, startReceiver } from '../support/receiver.ts';
import { startTestServices, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

/** The name does not look like a secret, so the value is hidden only because the header is custom. */
const HEADER = { name: 'X-Department', value: 'canary-header-value-6f1d' };
const CANARIES = [
  HEADER.value,
  Buffer.from(HEADER.value).toString('base64'),
  Buffer.from(HEADER.value).toString('hex'),
];

let services: TestServices;
let dns: DnsServer;
let engine: EngineProcess;
const receivers: (Receiver | HostileReceiver)[] = [];

beforeAll(async () => {
  services = await startTestServices();
  dns = await startDnsServer(({ name }) => (name.startsWith('inside') ? { addresses: ['10.0.0.1'] } : 'NXDOMAIN'));
  const env = { LOG_LEVEL: 'trace', RETRY_SCHEDULE: '1d', EGRESS_DNS_SERVERS: dns.address };
  engine = await startEngineProcess(services, env);
});

afterAll(async () => {
  await engine.terminate();
  await Promise.all(receivers.map((receiver) => receiver.close()));
  await dns.close();
  await services.stop();
});

const schema = buildSchema(readFileSync(new URL('../../schema.graphql', import.meta.url), 'utf8'));

/** All fields without required arguments, with their selections down to `depth` objects. */
function fieldsOf(type: GraphQLObjectType, depth: number): string[] {
  return Object.values(type.getFields()).flatMap((field) => {
    const fieldType = getNamedType(field.type);
    if (field.args.some(isRequiredArgument)) return [];
    if (isLeafType(fieldType)) return [field.name];
    if (!(fieldType instanceof GraphQLObjectType) || depth === 0) return [];
    return [`${field.name} ${everyField(fieldType, depth - 1)}`];
  });
}

function everyField(type: GraphQLObjectType, depth: number): string {
  return `{ __typename ${fieldsOf(type, depth).join(' ')} }`;
}

function typeNamed(name: string): GraphQLObjectType {
  const type = schema.getType(name);
  if (!(type instanceof GraphQLObjectType)) throw new Error(`there is no type ${name}`);
  return type;
}

async function respondingReceiver(respond: Respond): Promise<Receiver> {
  const receiver = await startReceiver(respond);
  receivers.push(receiver);
  return receiver;
}

async function garbageReceiver(): Promise<HostileReceiver> {
  const receiver = await startHostileReceiver(HOSTILITIES['sends garbage']);
  receivers.push(receiver);
  return receiver;
}

const CREATE = `mutation ($input: CreateWebhookSubscriptionInput!) { createWebhookSubscription(input: $input) {
  ... on CreateWebhookSubscriptionPayload { secret subscription ${everyField(typeNamed('WebhookSubscription'), 0)} }
  ... on Error { code message } } }`;

type Created = {
  readonly createWebhookSubscription: { readonly secret?: string; readonly subscription?: { readonly id: string } };
};

const UPDATE = `mutation ($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
  updateWebhookSubscription(id: $id, input: $input) { ... on Error { code message } } }`;

it('no custom header value and no signing secret is in any answer, table or log line', async () => {
  const sound = await respondingReceiver(() => ({ status: 200, body: 'ok' }));
  const failing = await respondingReceiver((_, index) => ({ status: [500, 302, 429, 410][index % 4] ?? 500 }));
  const hanging = await respondingReceiver(() => 'hang');
  const resetting = await respondingReceiver(() => 'reset');
  const closed = await respondingReceiver(() => 'reset');
  await closed.close();
  const port = new URL(sound.url).port;
  const urls = [
    ...[sound.url, `${sound.url}/unreadable`, failing.url, failing.url, failing.url, failing.url, hanging.url],
    ...[resetting.url, (await garbageReceiver()).url, sound.url.replace('http:', 'https:'), closed.url],
    ...[`http://inside.example.com:${port}/`, 'http://nowhere.example.com/'],
  ];
  const answers: unknown[] = [];
  const created: { readonly id: string; readonly secret: string }[] = [];
  for (const url of urls) {
    const input = { tenant: 'acme', url, eventTypes: ['a'], timeoutMs: 1_000, headers: [HEADER] };
    const { createWebhookSubscription: result } = await engine.graphql<Created>(CREATE, { input });
    expect(result).toMatchObject({ subscription: { headerNames: [HEADER.name] } });
    answers.push(result.subscription);
    created.push({ id: result.subscription?.id ?? '', secret: result.secret ?? '' });
  }
  await services.query(
    `UPDATE webhook_subscriptions SET encrypted_headers = overlay(encrypted_headers PLACING 'AAAA' FROM 40)
     WHERE url LIKE '%/unreadable'`,
  );
  for (const headers of [
    [{ ...HEADER, name: 'host' }],
    [{ ...HEADER, value: `${HEADER.value}\n` }],
    [HEADER, HEADER],
  ]) {
    const refused = await engine.graphql(UPDATE, { id: created[0]?.id, input: { headers } });
    expect(refused).toMatchObject({ updateWebhookSubscription: { code: 'INVALID_HEADERS' } });
    answers.push(refused);
  }

  await services.publish('events.acme.a', '{}');
  await waitFor(async () => (await services.query('SELECT 1 FROM attempts')).length === urls.length - 1, {
    what: 'an attempt of each but the one whose headers cannot be read',
  });
  await waitFor(() => engine.output().includes('cannot be attempted'), { what: 'the one that cannot be read' });
  const reasons = await services.query<{ reason: string }>(
    'SELECT DISTINCT failure_reason::text AS reason FROM attempts WHERE failure_reason IS NOT NULL ORDER BY 1',
  );
  expect(reasons.map(({ reason }) => reason)).toEqual([
    ...['BLOCKED_TARGET', 'CONNECTION_REFUSED', 'CONNECTION_RESET', 'DNS_FAILURE', 'HTTP_STATUS'],
    ...['INVALID_RESPONSE', 'REDIRECT', 'TIMEOUT', 'TLS_FAILURE'],
  ]);
  expect(sound.requests.map(({ headers }) => headers['x-department'])).toEqual([HEADER.value]);

  // One operation with all fields would exceed the cost limit.
  for (const field of fieldsOf(typeNamed('Query'), 3)) answers.push(await engine.graphql(`{ ${field} }`));
  const shown = JSON.stringify(answers);
  const stored = JSON.stringify(await everyRow());
  expect(shown).toContain('"statusCode":410');
  expect(stored).toContain('X-Department');
  expect(engine.output()).toContain('delivery.attempted');
  const secrets = created.map(({ secret }) => secret.replace('whsec_', ''));
  for (const canary of [...CANARIES, ...secrets]) {
    expect(shown).not.toContain(canary);
    expect(stored).not.toContain(canary);
    expect(engine.output()).not.toContain(canary);
  }
});

async function everyRow(): Promise<unknown[]> {
  const tables = await services.query<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'`,
  );
  return Promise.all(tables.map(({ name }) => services.query(`SELECT to_jsonb(t) FROM "${name}" t`)));
}
