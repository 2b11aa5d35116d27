import { type ChildProcess, spawn } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findOwnPort } from '../support/own-port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let services: TestServices;
/** The server's, also when it is started again. */
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

/** As examples/README.md says, but for where the server is. */
function start(command: string, args: readonly string[]): Example {
  const env = { ...process.env, URL: app.url, KEY: app.adminApiKey, NATS_URL: services.nats.url };
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
  await waitFor(() => example.code() !== null, { what: `${command} to end`, timeoutMs: 40_000 });
  expect(example.code(), example.output()).toBe(0);
  return example.output();
}

test('curl.sh subscribes, sends a test event, and shows its attempt', async () => {
  const output = await run('examples/curl.sh', [receiver.url]);
  expect(output).toContain('"secret":"whsec_');
  expect(output).toContain('data: {"data":{"deliveryLog":{"eventType":"webhook.test","number":1,"status":"SUCCESS"');
});

test('publisher.mjs publishes an event, and urql/watch.ts shows its attempt, also what was made while it was not connected', async () => {
  await app.subscribe({ url: receiver.url, tenant: 'examples', eventTypes: ['example.*'] });
  const publish = async (type: string) => {
    await run('node', ['examples/publisher.mjs', type, '{"n": 1}', `id-of-${type}`]);
    const made = async () => (await services.query('SELECT FROM attempts WHERE event_type = $1', [type])).length === 1;
    await waitFor(made, { what: `the attempt of ${type}`, timeoutMs: 40_000 });
  };
  await publish('example.before');
  const watch = start('node', ['--import', 'tsx', 'examples/urql/watch.ts']);
  const shown = () => [...watch.output().matchAll(/^(example\.\w+), attempt 1: SUCCESS 200/gm)].map(([, type]) => type);
  const other = await startTestApp(services);
  try {
    await waitFor(() => watch.output().includes('watching'), { what: 'the log', timeoutMs: 40_000 });
    expect(watch.output()).toContain(`examples: ${receiver.url}`);
    await publish('example.live');
    await waitFor(() => shown().includes('example.live'), { what: 'the attempt', timeoutMs: 40_000 });
    await app.stop();
    for (const type of ['example.away', 'example.apart']) await publish(type);
    app = await startTestApp(services, { env: { PORT: port } });
    await publish('example.back');
    await waitFor(() => shown().includes('example.back'), { what: 'the last attempt', timeoutMs: 40_000 });
    expect(shown()).toEqual(['example.live', 'example.away', 'example.apart', 'example.back']);
  } finally {
    watch.child.kill();
    await other.stop();
  }
});
