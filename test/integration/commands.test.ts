import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readArguments } from '../../src/cli/arguments.ts';
import type { CommandName, Input } from '../../src/cli/commands.ts';
import { runDoctor } from '../../src/cli/doctor.ts';
import { CommandError } from '../../src/cli/failure.ts';
import { manageKeys } from '../../src/cli/keys.ts';
import { listen } from '../../src/cli/listen.ts';
import { migrateDatabase } from '../../src/cli/migrate.ts';
import { createOutput } from '../../src/cli/output.ts';
import { publishEvent } from '../../src/cli/publish.ts';
import { replay } from '../../src/cli/replay.ts';
import { reseal } from '../../src/cli/reseal.ts';
import type { Run } from '../../src/cli/run.ts';
import { tail } from '../../src/cli/tail.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { startReceiver } from '../support/receiver.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import {
  SECRETS_KEY,
  startTestApp,
  startTestServices,
  type TestApp,
  type TestServices,
  testEnv,
} from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
let folder: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services);
  folder = await mkdtemp(join(tmpdir(), 'commands-'));
  await writeFile(join(folder, 'admin-api-key'), `${app.adminApiKey}\n`);
  env = { DATA_DIR: folder, WEBHOOKS_ENGINE_URL: app.url };
});

afterAll(async () => {
  await app.stop();
  await services.stop();
  await rm(folder, { recursive: true });
});

type Running = {
  readonly rows: () => Record<string, unknown>[];
  readonly notes: () => string;
  readonly exitCode: Promise<number>;
  stop(): void;
};

/** Runs a command like the program, with its output in memory as JSON. */
function start<N extends CommandName>(command: Run<N>, args: readonly string[], environment = env): Running {
  const invocation = readArguments(args);
  if (invocation.kind !== 'run') throw new Error('the arguments are wrong');
  const stopping = new AbortController();
  let printed = '';
  let notes = '';
  const out = createOutput(true, {
    out: { write: (text) => (printed += text) },
    err: { write: (text) => (notes += text) },
  });
  // `as`: the arguments have been parsed with the options of this command.
  const input = { values: invocation.values, positionals: invocation.positionals } as Input<N>;
  const exitCode = command({ env: environment, out, signal: stopping.signal }, input);
  exitCode.catch(() => undefined);
  return {
    rows: () =>
      printed
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    notes: () => notes,
    exitCode,
    stop: () => {
      stopping.abort();
    },
  };
}

async function run<N extends CommandName>(
  command: Run<N>,
  args: readonly string[],
): Promise<Record<string, unknown>[]> {
  const running = start(command, args);
  expect(await running.exitCode).toBe(0);
  return running.rows();
}

const publish = (id: string, tenant: string) =>
  run(publishEvent, ['publish', 'order.paid', '{"total": 12}', '--tenant', tenant, '--id', id]);

async function descriptionsOf(tenant: string): Promise<string[]> {
  const query = `query ($tenant: String) { webhookSubscriptions(filter: { tenant: $tenant }) { nodes { description } } }`;
  type Page = { readonly webhookSubscriptions: { readonly nodes: readonly { readonly description: string }[] } };
  return (await app.graphql<Page>(query, { tenant })).webhookSubscriptions.nodes.map(({ description }) => description);
}

async function openStreams(): Promise<number> {
  const metrics = await fetch(`${app.url}/metrics`, { headers: { authorization: `Bearer ${app.adminApiKey}` } });
  const values = [...(await metrics.text()).matchAll(/^webhooks_graphql_subscriptions\S* (\d+)$/gm)];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}

it('listen relays signed webhooks to a local URL, replaces the subscription of a killed listen, and cleans up', async () => {
  const receiver = await startReceiver(() => ({ status: 202 }));
  try {
    const args = ['listen', '--forward-to', receiver.url, '--tenant', 'relay', '--name', 'mine', '--type', 'order.*'];
    await app.subscribe({ tenant: 'relay', url: receiver.url, eventTypes: ['other'], description: 'kept' });
    const { id } = await app.subscribe({
      tenant: 'relay',
      url: `${app.url}/sink`,
      description: 'webhooks-engine listen: mine',
    });
    const listening = start(listen, args);
    await waitFor(() => listening.notes().includes('Signing secret'), { what: 'the temporary subscription' });
    expect(await app.graphql(`{ webhookSubscription(id: "${id}") { id } }`)).toEqual({ webhookSubscription: null });
    await publish('first', 'relay');
    await receiver.waitForRequests(1);
    const [request] = receiver.requests;
    if (request === undefined) throw new Error('there is no request');
    const secret = /Signing secret: (\S+)/.exec(listening.notes())?.[1] ?? '';
    // `as`: the headers that the library reads have one value each.
    const body = new Webhook(secret).verify(request.rawBody, request.headers as Record<string, string>);
    expect(body).toMatchObject({ id: 'first', type: 'order.paid', data: { total: 12 } });
    expect(request.headers).toMatchObject({ 'webhook-event': 'order.paid', 'webhook-attempt': '1' });
    await waitFor(() => listening.rows().length === 1, { what: 'the printed row' });
    expect(listening.rows()[0]).toMatchObject({ eventId: 'first', statusCode: 202 });
    expect(await descriptionsOf('relay')).toEqual(['webhooks-engine listen: mine', 'kept']);
    listening.stop();
    expect(await listening.exitCode).toBe(0);
    expect(await descriptionsOf('relay')).toEqual(['kept']);
  } finally {
    await receiver.close();
  }
});

it('a temporary subscription that is not renewed is deactivated by its next delivery', async () => {
  const { id } = await app.subscribe({ tenant: 'late', url: `${app.url}/sink?until=1` });
  await publish('late', 'late');
  const query = `{ webhookSubscription(id: "${id}") { isActive deactivationReason } }`;
  await waitFor(
    async () => {
      const { webhookSubscription } = await app.graphql<{ webhookSubscription: { isActive: boolean } }>(query);
      return !webhookSubscription.isActive;
    },
    { what: 'the deactivation' },
  );
});

it('tail prints attempts live, and replay sends a delivery again and prints its counts at the end', async () => {
  const receiver = await startReceiver(() => ({ status: 204 }));
  try {
    await app.subscribe({ tenant: 'watched', url: receiver.url });
    const tailing = start(tail, ['tail', '--tenant', 'watched', '--type', 'order.paid']);
    // The stream begins some time after the command starts, so it can miss a first attempt.
    await waitFor(
      async () => {
        await publish(`event-${receiver.requests.length}`, 'watched');
        return tailing.rows().length > 0;
      },
      { what: 'an attempt' },
    );
    expect(tailing.rows()[0]).toMatchObject({ tenant: 'watched', status: 'SUCCESS', statusCode: 204 });
    const filter = ['--tenant', 'watched', '--status', 'success', '--from', '1h'];
    const [dryRun] = await run(replay, ['replay', ...filter, '--dry-run']);
    expect(dryRun).toMatchObject({ status: 'DRY_RUN', replayedCount: 0 });
    const [replayed] = await run(replay, ['replay', ...filter]);
    expect(replayed).toMatchObject({ status: 'COMPLETED', tenant: 'watched' });
    expect(replayed?.['replayedCount']).toBeGreaterThan(0);
    tailing.stop();
    expect(await tailing.exitCode).toBe(0);
  } finally {
    await receiver.close();
  }
});

it('listen ends with the reason, and deletes its subscription, if the subscription cannot be activated', async () => {
  await services.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$`);
  await services.query(`CREATE TRIGGER refuse BEFORE UPDATE ON webhook_subscriptions FOR EACH ROW
    WHEN (NEW.tenant = 'refused' AND NEW.is_active) EXECUTE FUNCTION refuse()`);
  const args = ['listen', '--forward-to', 'http://127.0.0.1:9999/', '--tenant', 'refused'];
  await expect(start(listen, args).exitCode).rejects.toThrow('The engine refused');
  expect(await descriptionsOf('refused')).toEqual([]);
  await services.query('DROP FUNCTION refuse CASCADE');
});

it('replay continues to watch its progress after an interruption', async () => {
  const receiver = await startReceiver();
  const port = Number(new URL(app.url).port);
  let proxy = await startTcpProxy({ port });
  try {
    await app.subscribe({ tenant: 'interrupted', url: receiver.url });
    for (const id of ['1', '2', '3', '4']) await publish(id, 'interrupted');
    await receiver.waitForRequests(4);
    const replaying = start(replay, ['replay', '--tenant', 'interrupted', '--from', '1h', '--rate', '1'], {
      ...env,
      WEBHOOKS_ENGINE_URL: `http://127.0.0.1:${proxy.port}`,
    });
    await waitFor(() => replaying.notes().includes(' of 4'), { what: 'the progress' });
    await proxy.stop();
    proxy = await startTcpProxy({ port, ownPort: proxy.port });
    expect(await replaying.exitCode).toBe(0);
    expect(replaying.notes()).toContain('Interrupted: ');
    expect(replaying.rows()[0]).toMatchObject({ status: 'COMPLETED', replayedCount: 4 });
  } finally {
    await proxy.stop();
    await receiver.close();
  }
});

it('tail, listen, replay and /metrics work with enum values that a newer version has written', async () => {
  const receiver = await startReceiver(() => ({ status: 204 }));
  try {
    for (const type of ['failure_reason', 'wait_reason']) {
      await services.query(`ALTER TYPE ${type} ADD VALUE 'NEXT_RELEASE'`);
    }
    const tailing = start(tail, ['tail', '--tenant', 'newer']);
    const listening = start(listen, ['listen', '--forward-to', receiver.url, '--tenant', 'newer']);
    await waitFor(() => listening.notes().includes('Signing secret'), { what: 'the temporary subscription' });
    // The stream begins some time after the command starts, so it can miss a first attempt.
    await waitFor(
      async () => {
        await publish(`newer-${receiver.requests.length}`, 'newer');
        return tailing.rows().length > 0 && receiver.requests.length > 0;
      },
      { what: 'an attempt' },
    );
    // Writes the values of a newer version: two deliveries with a new failure reason, one of which has a new wait reason.
    const { requests } = receiver;
    const before = { rows: tailing.rows().length, requests: requests.length };
    for (const status of ['FAILURE', 'PENDING']) {
      const id = uuid7(Date.now());
      await services.query(
        `WITH past AS (
           SELECT * FROM deliveries WHERE tenant = 'newer' AND status = 'SUCCESS' ORDER BY id LIMIT 1
         ), delivery AS (
           INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status, attempt_count, next_attempt_at, waiting_for)
           SELECT $1, tenant, subscription_id, event_id, event_type, $2::delivery_status, 1,
             CASE WHEN $2 = 'PENDING' THEN now() + interval '1 h' END, CASE WHEN $2 = 'PENDING' THEN 'NEXT_RELEASE'::wait_reason END
           FROM past
         )
         INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, failure_reason,
           response_time_ms, started_at, url, request_headers, payload_size_bytes)
         SELECT $1, $1, subscription_id, tenant, event_type, 1, 'FAILURE', 'NEXT_RELEASE', 1, now(), 'https://example.com', '{}', 1
         FROM past`,
        [id, status],
      );
    }
    await waitFor(() => requests.length >= before.requests + 2, { what: 'the relayed deliveries' });
    const isNew = (row: Record<string, unknown>) => row['failureReason'] === 'OTHER';
    await waitFor(() => tailing.rows().filter(isNew).length === 2, { what: 'the attempts' });

    const metrics = await fetch(`${app.url}/metrics`, { headers: { authorization: `Bearer ${app.adminApiKey}` } });
    const page = await metrics.text();
    expect(page).toMatch(/^webhooks_deliveries_pending\{lane="waiting"\} 1$/m);
    expect(page).not.toContain('NEXT_RELEASE');

    const [replayed] = await run(replay, ['replay', '--tenant', 'newer', '--status', 'pending', '--status', 'failure']);
    expect(replayed).toMatchObject({ status: 'COMPLETED', deliveryCount: 2, replayedCount: 1, skippedCount: 1 });
    for (const running of [tailing, listening]) {
      running.stop();
      expect(await running.exitCode).toBe(0);
    }
  } finally {
    await receiver.close();
  }
});

it('tail and listen continue without a gap after an interruption before the first value', async () => {
  const receiver = await startReceiver(() => ({ status: 204 }));
  const port = Number(new URL(app.url).port);
  let proxy = await startTcpProxy({ port });
  const through = { ...env, WEBHOOKS_ENGINE_URL: `http://127.0.0.1:${proxy.port}` };
  const sink = ['--sink-url', `${app.url}/sink`];
  const tailing = start(tail, ['tail', '--tenant', 'gap'], through);
  const listening = start(listen, ['listen', '--forward-to', receiver.url, '--tenant', 'gap', ...sink], through);
  try {
    await waitFor(() => listening.notes().includes('Signing secret'), { what: 'the temporary subscription' });
    await waitFor(async () => (await openStreams()) === 2, { what: 'both streams' });
    await proxy.stop();
    for (const { notes } of [tailing, listening]) {
      await waitFor(() => notes().includes('Interrupted'), { what: 'the interruption' });
    }
    await publish('in-between', 'gap');
    await waitFor(async () => (await services.query(`SELECT FROM attempts WHERE tenant = 'gap'`)).length === 1, {
      what: 'the attempt',
    });
    proxy = await startTcpProxy({ port, ownPort: proxy.port });
    await waitFor(() => tailing.rows().length > 0 && listening.rows().length > 0, { what: 'the attempt in both' });
    expect(listening.rows()).toMatchObject([{ eventId: 'in-between', statusCode: 204 }]);
    expect(tailing.rows()).toMatchObject([{ delivery: { event: { id: 'in-between' } } }]);
  } finally {
    for (const running of [tailing, listening]) {
      running.stop();
      await running.exitCode;
    }
    await proxy.stop();
    await receiver.close();
  }
});

it('keys are created, listed and revoked', async () => {
  const [created] = await run(manageKeys, ['keys', 'create', 'backend', '--scope', 'publish', '--tenant', 'acme']);
  expect(created).toMatchObject({ name: 'backend', scope: 'PUBLISH', tenant: 'acme' });
  const asBackend = { ...env, WEBHOOKS_ENGINE_API_KEY: String(created?.['key']) };
  const published = start(publishEvent, ['publish', 'order.paid'], asBackend);
  expect(await published.exitCode).toBe(0);
  await run(manageKeys, ['keys', 'revoke', String(created?.['id'])]);
  expect(await run(manageKeys, ['keys'])).toEqual([]);
  expect(await run(manageKeys, ['keys', 'list', '--revoked'])).toHaveLength(1);
});

it('publish says that an id is already known, and prints the event published first', async () => {
  await publish('twice', 'known');
  const again = start(publishEvent, ['publish', 'order.void', '--tenant', 'known', '--id', 'twice']);
  expect(await again.exitCode).toBe(0);
  expect(again.rows()).toMatchObject([{ id: 'twice', type: 'order.paid', isKnown: true }]);
  expect(again.notes()).toContain('Not published again: the id twice');
});

it('doctor names stored secrets that SECRETS_KEY cannot open, and changes none', async () => {
  await app.subscribe({ tenant: 'sealed', url: 'https://example.com', headers: [{ name: 'x-key', value: 'v' }] });
  const other = Buffer.alloc(32).toString('base64');
  const examine = async (keys: string) => {
    const doctor = start(runDoctor, ['doctor'], testEnv(services, { SECRETS_KEY: keys }));
    return [await doctor.exitCode, doctor.rows().find(({ subject }) => subject === 'SECRETS_KEY')];
  };
  expect(await examine(other)).toMatchObject([
    1,
    { result: 'failed', text: expect.stringContaining('cannot open') as string },
  ]);
  const rotating = expect.stringContaining('the older keys are needed for') as string;
  expect(await examine(`${other},${SECRETS_KEY}`)).toMatchObject([0, { result: 'ok', text: rotating }]);
  const text = 'opens the stored secrets and headers';
  expect(await examine(SECRETS_KEY)).toMatchObject([0, { result: 'ok', text }]);
});

it('doctor finds no problem in a healthy installation, and names the problems of a broken one', async () => {
  const healthy = start(runDoctor, ['doctor'], testEnv(services));
  expect(await healthy.exitCode).toBe(0);
  expect(healthy.rows().map(({ subject }) => subject)).toEqual(
    expect.arrayContaining(['Postgres', 'clock', 'nats-server', 'stream EVENTS', 'consumer sender']),
  );
  // The name localhost is not looked up, as by a sender.
  const receiver = await startReceiver();
  const target = receiver.url.replace('127.0.0.1', 'localhost');
  const local = start(runDoctor, ['doctor', '--target', target], testEnv(services));
  expect([await local.exitCode, local.rows().at(-1)]).toMatchObject([0, { subject: 'target', result: 'ok' }]);
  await receiver.close();
  const broken = { ...testEnv(services), NATS_URL: 'nats://127.0.0.1:1', DATABASE_URL: 'postgres://u@127.0.0.1:1/d' };
  const sick = start(runDoctor, ['doctor', '--target', 'https://10.0.0.1/'], broken);
  expect(await sick.exitCode).toBe(1);
  expect(
    sick
      .rows()
      .filter(({ result }) => result === 'failed')
      .map(({ subject }) => subject),
  ).toEqual(['Postgres', 'NATS', 'target']);
  const misconfigured = start(runDoctor, ['doctor'], { PORT: 'http' });
  expect(await misconfigured.exitCode).toBe(1);
  expect(misconfigured.rows().at(-1)).toMatchObject({ subject: 'configuration', result: 'failed' });
});

it('a failure is one sentence with a remedy', async () => {
  const failures = [
    [
      start(publishEvent, ['publish', 'order.paid'], { ...env, WEBHOOKS_ENGINE_URL: 'http://127.0.0.1:1' }),
      'cannot be reached',
    ],
    [
      start(publishEvent, ['publish', 'order.paid'], { ...env, WEBHOOKS_ENGINE_API_KEY: 'whk_wrong' }),
      'refuses the API key',
    ],
    [start(tail, ['tail'], { ...env, WEBHOOKS_ENGINE_API_KEY: 'whk_wrong' }), 'refuses the API key'],
    [start(publishEvent, ['publish', 'order.paid'], { DATA_DIR: join(folder, 'none') }), 'No API key'],
    [start(publishEvent, ['publish', 'order paid', '--tenant', 'acme']), 'the event type must be an event type'],
    [start(publishEvent, ['publish', 'order.paid']), '--tenant is required (INVALID_INPUT)'],
    [start(publishEvent, ['publish', 'order.paid', '--occurred-at', 'now']), '--occurred-at must be a time'],
    [start(replay, ['replay']), '--tenant is required'],
    [start(replay, ['replay', '--tenant', 'acme', '--subscription', 'foo']), '--subscription must be the id'],
    [start(tail, ['tail', '--subscription', 'foo']), '--subscription must be the id'],
    [start(tail, ['tail', '--type', 'order paid']), '--type must be'],
    [start(tail, ['tail', '--after', 'foo']), '--after is not a cursor'],
    [start(manageKeys, ['keys', 'create', 'k', '--scope', 'publish', '--tenant', 'a b']), '--tenant '],
    [start(publishEvent, ['publish', 'order.paid', '{total']), 'not JSON'],
    ...[migrateDatabase, reseal].flatMap((command, index) => {
      const args = [index === 0 ? 'migrate' : 'reseal'];
      const startWith = (url: URL) => start(command, args, { ...testEnv(services), DATABASE_URL: url.href });
      const refused = new URL(services.databaseUrl);
      [refused.username, refused.password] = ['nobody', 'whk_password'];
      const missing = new URL(services.databaseUrl);
      missing.pathname = '/missing';
      return [
        [startWith(new URL('postgres://u:whk_password@localhost:1/d')), 'ECONNREFUSED'],
        [startWith(refused), 'Postgres cannot be used (password authentication failed for user "nobody"): check'],
        [startWith(missing), 'Postgres cannot be used (database "missing" does not exist): check DATABASE_URL,'],
      ] as const;
    }),
  ] as const;
  for (const [{ exitCode }, text] of failures) {
    const error: unknown = await exitCode.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CommandError);
    expect(String(error)).toContain(text);
    expect(String(error)).not.toContain('whk_');
  }
});
