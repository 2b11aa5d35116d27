import { readFile, stat } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from 'nats';
import { afterEach, expect, it } from 'vitest';
import { VERSION } from '../../src/version.ts';
import { compiledProgram } from '../support/compiled-program.ts';
import { findOwnPort } from '../support/own-port.ts';
import { startReceiver } from '../support/receiver.ts';
import { type Program, runProgram } from '../support/run-program.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';
import { startTestApp, startTestServices, testEnv } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const programs: Program[] = [];
const folders: TempFolder[] = [];

afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.end('SIGKILL')));
  await Promise.all(folders.splice(0).map((folder) => folder.remove()));
});

async function start(env: Record<string, string>): Promise<Program> {
  const program = runProgram(await compiledProgram(), { args: [], home: tmpdir(), env });
  program.firstLine.catch(() => undefined);
  programs.push(program);
  return program;
}

it('bad configuration stops the start with every problem named', async () => {
  const program = await start({ PORT: 'http', RETRY_SCHEDULE: 'soon', DATABASE_URL: 'postgres://u:p@127.0.0.1:1/db' });
  await waitFor(() => program.child.exitCode !== null, { what: 'its end', timeoutMs: 30_000 });
  expect(program.child.exitCode).toBe(1);
  for (const name of ['PORT', 'RETRY_SCHEDULE', 'SECRETS_KEY']) expect(program.errorOutput()).toContain(name);
});

it('a SECRETS_KEY that does not open what is in the database stops the start', async () => {
  const services = await startTestServices();
  try {
    const app = await startTestApp(services);
    await app.subscribe({ url: 'https://example.com/' });
    await app.stop();
    const env = testEnv(services, { SECRETS_KEY: Buffer.alloc(32, 1).toString('base64') });
    const program = await start(env);
    await waitFor(() => program.child.exitCode !== null, { what: 'its end', timeoutMs: 30_000 });
    expect(program.child.exitCode).toBe(1);
    expect(program.errorOutput()).toBe('SECRETS_KEY does not open the signing secrets in this database\n');
  } finally {
    await services.stop();
  }
});

it('a process without the role api promises no GraphQL, and each line of its log says what it is', async () => {
  const services = await startTestServices();
  try {
    const program = await start(testEnv(services, { ROLES: 'sender', LOG_LEVEL: 'info' }));
    await waitFor(() => program.output().includes('"ready"'), { what: 'its start', timeoutMs: 30_000 });
    const lines = linesOf(program);
    for (const line of lines) expect(line).toMatchObject({ pid: program.child.pid, ...WHO, roles: 'sender' });
    expect(lines.find(({ msg }) => msg === 'listening')).not.toHaveProperty('graphql');
    expect(program.output()).not.toContain('/graphql');
    await program.end('SIGTERM');
  } finally {
    await services.stop();
  }
}, 60_000);

it('a port that is taken stops the start, and what was started for it', async () => {
  const folder = await createTempFolder();
  folders.push(folder);
  const taken = await startReceiver();
  const { port } = new URL(taken.url);
  const program = await start({ DATA_DIR: join(folder.path, 'data'), PORT: port });
  await waitFor(() => program.child.exitCode !== null, { what: 'its end', timeoutMs: 30_000 });
  expect(program.child.exitCode).toBe(1);
  expect(program.errorOutput()).toContain(`cannot listen on 127.0.0.1, port ${port}`);
  await taken.close();
});

it('with nothing configured it runs on embedded servers, keeps its data and secrets over a restart, and stops on SIGTERM', async () => {
  const folder = await createTempFolder();
  folders.push(folder);
  const receiver = await startReceiver();
  const dataDir = join(folder.path, 'data');
  const port = await findOwnPort();
  const env = { DATA_DIR: dataDir, PORT: String(port) };
  const url = `http://127.0.0.1:${port}`;
  const isReady = () =>
    waitFor(async () => (await fetch(`${url}/health/ready`)).status === 200, { what: 'readiness', timeoutMs: 30_000 });
  const first = await start(env);
  await isReady();
  const key = (await readFile(join(dataDir, 'admin-api-key'), 'utf8')).trim();
  const graphql = async (query: string, authorization = `Bearer ${key}`) => {
    const headers = { 'content-type': 'application/json', authorization };
    const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query }) });
    return { status: response.status, body: await response.text() };
  };
  for (const name of ['admin-api-key', 'secrets-key'])
    expect((await stat(join(dataDir, name))).mode & 0o777).toBe(0o600);
  expect((await graphql('{ __typename }', 'Bearer wrong')).status).toBe(401);
  const created = await graphql(
    `mutation { createWebhookSubscription(input: { tenant: "acme", url: "${receiver.url}", eventTypes: ["*"] }) { __typename } }`,
  );
  expect(created.body).toContain('CreateWebhookSubscriptionPayload');
  await publishOne(dataDir);
  await receiver.waitForRequests(1);
  const lines = linesOf(first);
  for (const line of lines)
    expect(line).toMatchObject({ pid: first.child.pid, ...WHO, roles: 'api,dispatcher,sender' });
  expect(lines).toContainEqual(expect.objectContaining({ msg: 'listening', url, graphql: `${url}/graphql` }));
  await first.end('SIGTERM');
  expect(first.child.exitCode).toBe(0);

  const second = await start(env);
  await isReady();
  expect((await graphql('{ deliveryLog { edges { node { status } } } }')).body).toContain('SUCCESS');
  await publishOne(dataDir);
  await receiver.waitForRequests(2);
  expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(2);
  await second.end('SIGINT');
  expect(second.child.exitCode).toBe(0);
  await receiver.close();
}, 90_000);

const WHO = { hostname: hostname(), version: VERSION };

function linesOf(program: Program): Record<string, unknown>[] {
  const complete = program.output().split('\n').slice(0, -1);
  return complete.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function publishOne(dataDir: string): Promise<void> {
  const connection: NatsConnection = await connect({
    servers: (await readFile(join(dataDir, 'nats-url'), 'utf8')).trim(),
  });
  await connection.jetstream().publish('events.acme.conversation.created', '{}');
  await connection.close();
}
