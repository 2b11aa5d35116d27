import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { buildSchema, parse, validate } from 'graphql';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApiKey, revokeApiKey } from '../support/api-keys.ts';
import { CHROMIUM, launchChromium } from '../support/chromium.ts';
import { findOwnPort } from '../support/own-port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let services: TestServices;
/** The port of the server, which is the same after a restart. */
let port: string;
let app: TestApp;
let receiver: Receiver;
beforeAll(async () => {
  services = await startTestServices();
  port = String(await findOwnPort());
  app = await startTestApp(services, { env: { PORT: port } });
  receiver = await startReceiver();
});
afterAll(async () => {
  await app.stop();
  await receiver.close();
  await services.stop();
});

type Example = { readonly child: ChildProcess; readonly output: () => string; readonly code: () => number | null };

/** Starts an example as examples/README.md describes, with the address of this server. */
function start(command: string, args: readonly string[], more: Record<string, string> = {}): Example {
  const env = { ...process.env, URL: app.url, KEY: app.adminApiKey, NATS_URL: services.nats.url, ...more };
  const child = spawn(command, args, { cwd: ROOT, env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  return { child, output: () => output, code: () => child.exitCode };
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const example = start(command, args);
  await waitFor(() => example.code() !== null, { what: `${command} to end` });
  expect(example.code(), example.output()).toBe(0);
  return example.output();
}

test('curl.sh subscribes, sends a test event, and shows its attempt', async () => {
  const output = await run('examples/curl.sh', [receiver.url]);
  expect(output).toContain('"secret":"whsec_');
  expect(output).toContain('data: {"data":{"deliveryLog":{"eventType":"webhook.test","number":1,"status":"SUCCESS"');
});

test('publisher.mjs publishes an event, and urql/watch.ts shows its attempt, even those made while it was disconnected', async () => {
  // The subscription that curl.sh created receives every event type.
  await services.query('UPDATE webhook_subscriptions SET is_active = false');
  await app.subscribe({ url: receiver.url, tenant: 'examples', eventTypes: ['example.*'] });
  const publish = async (type: string) => {
    await run('node', ['examples/publisher.mjs', type, '{"n": 1}', `id-of-${type}`]);
    const made = async () => (await services.query('SELECT FROM attempts WHERE event_type = $1', [type])).length === 1;
    await waitFor(made, { what: `the attempt of ${type}` });
  };
  await publish('example.before');
  const watch = start('node', ['--import', 'tsx', 'examples/urql/watch.ts']);
  const shown = () => [...watch.output().matchAll(/^(example\.\w+), attempt 1: SUCCESS 200/gm)].map(([, type]) => type);
  const other = await startTestApp(services);
  try {
    await waitFor(() => watch.output().includes('watching'), { what: 'the log' });
    expect(watch.output()).toContain(`examples: ${receiver.url}`);
    await publish('example.live');
    await waitFor(() => shown().includes('example.live'), { what: 'the attempt' });
    await app.stop();
    for (const type of ['example.away', 'example.apart']) await publish(type);
    app = await startTestApp(services, { env: { PORT: port } });
    await publish('example.back');
    await waitFor(() => shown().includes('example.back'), { what: 'the last attempt' });
    expect(shown()).toEqual(['example.live', 'example.away', 'example.apart', 'example.back']);
  } finally {
    watch.child.kill();
    await other.stop();
  }
});

test('the page and its imports are served, and its operations are valid', async () => {
  const pagePort = String(await findOwnPort());
  const server = start('node', ['examples/browser/serve.mjs'], { PORT: pagePort });
  try {
    const get = (path: string) => fetch(`http://localhost:${pagePort}${path}`);
    const served = await waitFor(() => get('/'), { what: 'the page' });
    expect(served.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const page = await served.text();
    const { imports } = JSON.parse(/<script type="importmap">(.*)<\/script>/.exec(page)?.[1] ?? '{}') as {
      imports: Record<string, string>;
    };
    const modules = [...page.matchAll(/from '([^']+)'/g)].map(([, name = '']) => imports[name] ?? name);
    expect(modules).toEqual(['/graphql-ws/client.js']);
    for (const path of modules) {
      const answer = await get(path);
      expect([path, answer.status, answer.headers.get('content-type')]).toEqual([path, 200, 'text/javascript']);
      for (const [, name = ''] of (await answer.text()).matchAll(/^(?:import|export) .* from '([^']+)'/gm)) {
        modules.push(new URL(name, `http://localhost${path}`).pathname);
      }
    }
    expect(modules.length).toBeGreaterThan(1);
    expect((await get('/graphql-ws/none.js')).status).toBe(404);
    const schema = buildSchema(await readFile(new URL('../../schema.graphql', import.meta.url), 'utf8'));
    const operations = [...page.matchAll(/const (?:start|log) = `([^`]+)`/g)].map(([, text = '']) => text);
    expect(operations.map((text) => validate(schema, parse(text)))).toEqual([[], []]);
  } finally {
    server.child.kill();
  }
});

test.skipIf(CHROMIUM === undefined)(
  'the page shows the attempts of an interruption, also of one before its first attempt, and stops when its key is revoked',
  async () => {
    const pagePort = String(await findOwnPort());
    const server = start('node', ['examples/browser/serve.mjs'], { PORT: pagePort });
    const browser = await launchChromium();
    let proxy = await startTcpProxy({ port: Number(port) });
    try {
      await waitFor(() => fetch(`http://localhost:${pagePort}/`), { what: 'the page' });
      const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'page' });
      await app.subscribe({ url: receiver.url, tenant: 'page', eventTypes: ['*'] });
      const publish = async (type: string) => {
        await app.graphql(
          'mutation ($type: String!) { publishEvent(input: { tenant: "page", type: $type, data: 1 }) { __typename } }',
          { type },
        );
        await waitFor(
          async () => (await services.query('SELECT FROM attempts WHERE event_type = $1', [type])).length === 1,
          { what: `the attempt of ${type}` },
        );
      };
      await publish('page.before');
      const page = await browser.newPage();
      await page.goto(`http://localhost:${pagePort}/`);
      await page.locator('[name=url]').fill(`ws://127.0.0.1:${proxy.port}/graphql`);
      await page.locator('[name=key]').fill(key);
      await page.keyboard.press('Enter');
      const state = page.locator('output');
      await state.getByText('watching').waitFor();
      await proxy.stop();
      await state.getByText('watching').waitFor({ state: 'detached' });
      await publish('page.during');
      proxy = await startTcpProxy({ port: Number(port), ownPort: proxy.port });
      await page.getByText('page page.during, attempt 1: SUCCESS 200').waitFor();
      expect(await page.getByRole('listitem').count()).toBe(1);
      await revokeApiKey(app, id);
      await page.getByRole('button', { name: 'Watch', disabled: false }).waitFor();
      expect(await state.textContent()).not.toBe('watching');
    } finally {
      await proxy.stop();
      await browser.close();
      server.child.kill();
    }
  },
);
