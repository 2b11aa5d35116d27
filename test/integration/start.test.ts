import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { constants, hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { connect, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterEach, describe, expect, inject, it, vi } from 'vitest';
import { startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config/config.ts';
import { findProcesses } from '../../src/embedded/running-process.ts';
import { StartError } from '../../src/lib/start-error.ts';
import { VERSION } from '../../src/lib/version.ts';
import { BUNDLED_PROGRAM, COMPILED_PROGRAM } from '../support/compiled-program.ts';
import { findOwnPort } from '../support/own-port.ts';
import { copyCluster } from '../support/postgres.ts';
import { startReceiver } from '../support/receiver.ts';
import { canRead, type Program, runProgram } from '../support/run-program.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';
import { startTestApp, startTestServices, type TestServices, testEnv } from '../support/test-app.ts';
import { startUnansweredPort } from '../support/unanswered-port.ts';
import { waitFor } from '../support/wait-for.ts';

const isRoot = process.getuid?.() === 0;
/** The uid of daemon on every Linux. */
const UNPRIVILEGED = 1;

/** Long enough to create new databases on a busy machine. */
const START_MS = 90_000;

const programs: Program[] = [];
const folders: TempFolder[] = [];

afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.end('SIGKILL')));
  await Promise.all(folders.splice(0).map((folder) => folder.remove()));
});

async function tempFolder(): Promise<TempFolder> {
  const folder = await createTempFolder();
  folders.push(folder);
  return folder;
}

/** Without a nats-server on the PATH, each start would download one. */
const PATH = `${dirname(inject('natsServer'))}:${process.env['PATH'] ?? ''}`;

type StartOptions = { readonly uid?: number | undefined; readonly path?: string };

function start(env: Record<string, string>, { uid, path = BUNDLED_PROGRAM }: StartOptions = {}): Program {
  const program = runProgram(path, { args: [], home: tmpdir(), env: { PATH, ...env }, uid });
  program.firstLine.catch(() => undefined);
  programs.push(program);
  return program;
}

it('invalid configuration stops the start with all problems', async () => {
  const program = start({ PORT: 'http', RETRY_SCHEDULE: 'soon', DATABASE_URL: 'postgres://u:p@127.0.0.1:1/db' });
  await waitFor(() => program.child.exitCode !== null, { what: 'its end', timeoutMs: START_MS });
  expect(program.child.exitCode).toBe(1);
  for (const name of ['PORT', 'RETRY_SCHEDULE', 'SECRETS_KEY']) expect(program.errorOutput()).toContain(name);
  expect(program.errorOutput()).not.toContain('    at ');
});

it('a process without the role api announces no GraphQL, and each line of its log has its role', async () => {
  const services = await startTestServices();
  try {
    const program = start(testEnv(services, { ROLES: 'sender', LOG_LEVEL: 'info' }));
    await waitFor(() => program.output().includes('"ready"'), { what: 'its start', timeoutMs: START_MS });
    const lines = linesOf(program);
    for (const line of lines) expect(line).toMatchObject({ pid: program.child.pid, ...WHO, roles: 'sender' });
    expect(lines.find(({ msg }) => msg === 'listening')).not.toHaveProperty('graphql');
    expect(program.output()).not.toContain('/graphql');
    await program.end('SIGTERM');
  } finally {
    await services.stop();
  }
});

describe('HOST=::', () => {
  async function answersOn(hosts: readonly string[]): Promise<Record<string, boolean>> {
    const services = await startTestServices();
    try {
      const app = await startTestApp(services, { env: { ROLES: 'api', HOST: '::' } });
      const { port } = new URL(app.url);
      const isAnswered = (host: string) =>
        fetch(`http://${host}:${port}/health/live`).then(
          ({ ok }) => ok,
          () => false,
        );
      const answers = await Promise.all(hosts.map(async (host) => [host, await isAnswered(host)] as const));
      await app.stop();
      return Object.fromEntries(answers);
    } finally {
      await services.stop();
    }
  }

  it('listens on IPv4 and IPv6', async () => {
    expect(await answersOn(['127.0.0.1', '[::1]'])).toEqual({ '127.0.0.1': true, '[::1]': true });
  });

  it('listens on IPv4 only if the kernel has no IPv6', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    // `as`: Node.js does not document the handle of a server, which binds its address.
    const { _handle: handle } = server as unknown as { _handle: { bind6: () => number } };
    server.close();
    // The result on such a kernel, as a negative number.
    vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'bind6').mockReturnValue(-constants.errno.EAFNOSUPPORT);
    try {
      expect(await answersOn(['127.0.0.1', '[::1]'])).toEqual({ '127.0.0.1': true, '[::1]': false });
    } finally {
      vi.restoreAllMocks();
    }
  });
});

describe('a start error is one sentence with a remedy', () => {
  /** The reason for which the start ends. The program prints it and exits, as for an invalid configuration. */
  async function failureOf(env: NodeJS.ProcessEnv): Promise<string> {
    const errors: string[] = [];
    const log = pino({ level: 'error' }, { write: (line: string) => void errors.push(line) });
    const starting = startApp(readConfig(env), { log, report: () => undefined });
    const failure: unknown = await starting.then(({ ready }) => ready).catch((error: unknown) => error);
    await starting.then((app) => app.stop()).catch(() => undefined);
    expect(failure).toBeInstanceOf(StartError);
    expect(errors).toEqual([]);
    return failure instanceof Error ? failure.message : '';
  }

  async function failureWith(
    env: Record<string, string>,
    prepare: (services: TestServices) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<string> {
    const services = await startTestServices();
    try {
      await prepare(services);
      return await failureOf(testEnv(services, env));
    } finally {
      await services.stop();
    }
  }

  it('a SECRETS_KEY that does not open the secrets in the database', async () => {
    const failure = await failureWith({ SECRETS_KEY: Buffer.alloc(32, 1).toString('base64') }, async (services) => {
      const app = await startTestApp(services);
      await app.subscribe({ url: 'https://example.com/' });
      await app.stop();
    });
    expect(failure).toBe(
      'SECRETS_KEY cannot decrypt the signing secrets in this database: set it to the key that encrypted them',
    );
  });

  it('a DATA_DIR that is a file', async () => {
    const folder = await tempFolder();
    const file = join(folder.path, 'file');
    await writeFile(file, '');
    const reason = (path: string) =>
      `${path} is not a folder: set DATA_DIR (${path}) to a folder, or to a path where one can be created.`;
    for (const path of [file, join(file, 'below')]) expect(await failureOf({ DATA_DIR: path })).toBe(reason(path));
  });

  it.runIf(isRoot)('a DATA_DIR of another user', async (context) => {
    context.skip(!(await canRead(UNPRIVILEGED, import.meta.filename)), 'the repository is private');
    const folder = await tempFolder();
    const path = join(folder.path, "it's root's");
    await mkdir(path, { mode: 0o700 });
    await chmod(folder.path, 0o755);
    const program = start({ DATA_DIR: path }, { uid: UNPRIVILEGED });
    await waitFor(() => program.child.exitCode !== null, { what: 'its end', timeoutMs: START_MS });
    expect(program.child.exitCode).toBe(1);
    expect(linesOf(program).filter(({ level }) => Number(level) >= 50)).toEqual([]);
    expect(program.errorOutput()).toMatch(
      /^This user may not use .*, run "sudo chown -R 1:1 '.*\/it'\\''s root'\\''s'"; otherwise set DATA_DIR to another folder\.\n$/,
    );
  });

  it('a HOST of another machine', async () => {
    expect(await failureWith({ HOST: '192.0.2.1' })).toContain('HOST is not an address of this machine');
  });

  it('a migration that was changed after it had been applied', async () => {
    const failure = await failureWith({}, ({ query }) => query(`UPDATE _prisma_migrations SET checksum = 'another'`));
    expect(failure).toMatch(
      /^migration \S+ was changed .*: run the version of the program that applied it, or start with/,
    );
  });

  it('a port in use, and the servers started for it stop', async () => {
    const folder = await tempFolder();
    const dataDir = join(folder.path, 'data');
    await mkdir(join(dataDir, 'postgres'), { recursive: true, mode: 0o700 });
    await copyCluster(inject('postgresCluster'), join(dataDir, 'postgres'));
    const taken = await startReceiver();
    const { port } = new URL(taken.url);
    expect(await failureOf({ DATA_DIR: dataDir, PORT: port, PATH })).toContain(
      `cannot listen on 127.0.0.1, port ${port}`,
    );
    expect(await findProcesses((args) => args.some((argument) => argument.startsWith(dataDir)))).toEqual([]);
    await taken.close();
  });
});

it.runIf(isRoot)(
  'after a start by root, an error tells the owner how to regain access to the data, and it works',
  async (context) => {
    context.skip(!(await canRead(UNPRIVILEGED, import.meta.filename)), 'the repository is private');
    const folder = await tempFolder();
    await chmod(folder.path, 0o755);
    const dataDir = join(folder.path, 'data');
    await mkdir(dataDir);
    await chown(dataDir, UNPRIVILEGED, UNPRIVILEGED);
    await copyFile(inject('natsServer'), join(folder.path, 'nats-server'));
    const env = { DATA_DIR: dataDir, PORT: '0', PATH: `${folder.path}:${process.env['PATH'] ?? ''}` };
    const isListening = (program: Program) =>
      waitFor(() => program.output().includes('"listening"'), { what: 'its start', timeoutMs: START_MS });
    const byRoot = start(env);
    await isListening(byRoot);
    await byRoot.end('SIGTERM');
    const lockedOut = start(env, { uid: UNPRIVILEGED });
    await waitFor(() => lockedOut.child.exitCode !== null, { what: 'its end', timeoutMs: START_MS });
    const [, command = ''] = /run "sudo (chown -R 1:1 [^"]+)"/.exec(lockedOut.errorOutput()) ?? [];
    await promisify(execFile)('sh', ['-c', command]);
    const byOwner = start(env, { uid: UNPRIVILEGED });
    await isListening(byOwner);
    await byOwner.end('SIGTERM');
    expect(byOwner.child.exitCode).toBe(0);
  },
  120_000,
);

it('without configuration it runs on embedded servers, keeps data and secrets over a restart, and stops on SIGTERM', async () => {
  const folder = await createTempFolder();
  folders.push(folder);
  const receiver = await startReceiver();
  const dataDir = join(folder.path, 'data');
  const port = await findOwnPort();
  const env = { DATA_DIR: dataDir, PORT: String(port) };
  const url = `http://127.0.0.1:${port}`;
  const isReady = () =>
    waitFor(async () => (await fetch(`${url}/health/ready`)).status === 200, {
      what: 'readiness',
      timeoutMs: START_MS,
    });
  const first = start(env, { path: COMPILED_PROGRAM });
  await isReady();
  const key = (await readFile(join(dataDir, 'admin-api-key'), 'utf8')).trim();
  const graphql = async (query: string, authorization = `Bearer ${key}`) => {
    const headers = { 'content-type': 'application/json', authorization };
    const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query }) });
    return { status: response.status, body: await response.text() };
  };
  for (const name of ['admin-api-key', 'secrets-key', 'nats-password', 'nats-url', 'nats/nats.conf'])
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
  const embedded = (program: Program) =>
    linesOf(program).flatMap(({ level, msg }) =>
      String(msg).includes('is not set: using an embedded') ? [level] : [],
    );
  expect(embedded(first)).toEqual([30, 30]);
  const natsUrl = await readFile(join(dataDir, 'nats-url'), 'utf8');
  await first.end('SIGTERM');
  expect(first.child.exitCode).toBe(0);

  const second = start({ ...env, NODE_ENV: 'production' });
  await isReady();
  expect(embedded(second)).toEqual([40, 40]);
  expect(await readFile(join(dataDir, 'nats-url'), 'utf8')).toBe(natsUrl);
  expect((await graphql('{ deliveryLog { edges { node { status } } } }')).body).toContain('SUCCESS');
  await publishOne(dataDir);
  await receiver.waitForRequests(2);
  expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(2);
  await second.end('SIGINT');
  expect(second.child.exitCode).toBe(0);
  await receiver.close();
});

describe('a SIGTERM during the start ends the program with exit code 0', () => {
  /** Less than the 25 s that the program may take, on a busy machine. */
  const STOP_MS = 20_000;

  async function terminateWhen(program: Program, isReached: () => unknown): Promise<void> {
    // Until then, the signal has no handler and kills the process.
    await waitFor(() => program.output() !== '' && isReached(), { what: 'the step of the start', timeoutMs: START_MS });
    const begun = performance.now();
    await program.end('SIGTERM');
    expect(program.child).toMatchObject({ exitCode: 0, signalCode: null });
    expect(performance.now() - begun).toBeLessThan(STOP_MS);
    expect(program.output()).toContain('"stopped"');
    expect(program.output()).not.toContain('"ready"');
    expect(program.errorOutput()).toBe('');
  }

  it('with embedded servers, which stop as well, and the next start succeeds', async () => {
    const folder = await tempFolder();
    const dataDir = join(folder.path, 'data');
    const steps = [
      'nats/nats.conf',
      // The database is being created.
      'postgres/password',
      'postgres/data/postmaster.pid',
    ];
    for (const step of steps) {
      await terminateWhen(start({ DATA_DIR: dataDir, PORT: '0' }), () => existsSync(join(dataDir, step)));
      expect(await findProcesses((args) => args.some((argument) => argument.startsWith(dataDir)))).toEqual([]);
      const left = [...(await readdir(dataDir)), ...(await readdir(join(dataDir, 'postgres')).catch(() => []))];
      expect(left.filter((name) => /^(?:lock|initdb)[.-]/.test(name))).toEqual([]);
    }
    const last = start({ DATA_DIR: dataDir, PORT: '0' });
    await waitFor(() => last.output().includes('"ready"'), { what: 'the next start', timeoutMs: START_MS });
    await last.end('SIGTERM');
    expect(last.child.exitCode).toBe(0);
  });

  it('before the next step begins', async () => {
    const folder = await tempFolder();
    const dataDir = join(folder.path, 'data');
    const started = join(folder.path, 'started');
    const go = join(folder.path, 'go');
    // Starts the server only when the file `go` exists.
    const script = `#!/bin/sh
      case "$1" in -c) touch ${started}; until [ -e ${go} ]; do sleep 0.05; done ;; esac
      exec ${inject('natsServer')} "$@"`;
    await writeFile(join(folder.path, 'nats-server'), script, { mode: 0o755 });
    const program = start({ DATA_DIR: dataDir, PORT: '0', PATH: `${folder.path}:${process.env['PATH'] ?? ''}` });
    const terminated = terminateWhen(program, () => existsSync(started));
    await waitFor(() => program.output().includes('stopping before the start has completed'), {
      what: 'the signal',
      timeoutMs: START_MS,
    });
    await writeFile(go, '');
    await terminated;
    expect(await readdir(dataDir)).not.toContain('postgres');
  });

  it('with servers that do not answer', async () => {
    const silent = await startUnansweredPort();
    const address = `127.0.0.1:${silent.port}`;
    const given = { databaseUrl: `postgres://user:password@${address}/db`, nats: { url: `nats://${address}` } };
    const program = start(testEnv(given, { LOG_LEVEL: 'info' }));
    await terminateWhen(program, () => program.output().includes('"listening"'));
    await silent.close();
  });
});

it.runIf(process.platform === 'linux')(
  'a limit of open files that is too low stops the start with one sentence and a remedy',
  async () => {
    const limited = spawn('sh', ['-c', 'ulimit -n 256 && exec "$@"', 'sh', process.execPath, BUNDLED_PROGRAM], {
      // Makes the program exit with another error if it does not check the limit.
      env: { PORT: 'http' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [limited.stdout, limited.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
    await once(limited, 'close');
    expect(limited.exitCode).toBe(1);
    expect(output).toBe('Only 256 files may be open at a time: raise the limit (ulimit -n) to 1024 or more.\n');
  },
);

const WHO = { hostname: hostname(), version: VERSION };

function linesOf(program: Program): Record<string, unknown>[] {
  const complete = program
    .output()
    .split('\n')
    .slice(0, -1)
    .filter((line) => line.startsWith('{'));
  return complete.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function publishOne(dataDir: string): Promise<void> {
  const url = new URL((await readFile(join(dataDir, 'nats-url'), 'utf8')).trim());
  const connection: NatsConnection = await connect({
    servers: url.host,
    user: url.username,
    pass: url.password,
  });
  await connection.jetstream().publish('events.acme.conversation.created', '{}');
  await connection.close();
}
