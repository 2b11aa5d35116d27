import { spawn } from 'node:child_process';
import { access, chmod, chown, copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import pg from 'pg';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { EmbeddedServer } from '../../src/embedded/embedded-server.ts';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { findPostgresBinaries } from '../../src/embedded/postgres-binaries.ts';
import { readProcess } from '../../src/embedded/running-process.ts';
import { createLauncher } from '../../src/embedded/unprivileged.ts';
import { EMBEDDED_PROGRAM } from '../support/compiled-program.ts';
import { copyCluster } from '../support/postgres.ts';
import { canRead, type Program, type RunProgramOptions, runProgram } from '../support/run-program.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const isRoot = process.getuid?.() === 0;

let folder: TempFolder;
let directory: string;
let running: EmbeddedServer[] = [];
let programs: Program[] = [];
let logged = '';
beforeEach(async () => {
  folder = await createTempFolder();
  directory = join(folder.path, 'postgres');
  logged = '';
});
afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  await Promise.all(programs.map((program) => program.end('SIGTERM')));
  running = [];
  programs = [];
  await folder.remove();
});

async function start(): Promise<EmbeddedServer> {
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      logged += String(chunk);
      done();
    },
  });
  const log = pino({ level: 'debug' }, stream);
  const server = await startEmbeddedPostgres({ directory, log, report: () => undefined });
  running.push(server);
  return server;
}

/** Copies a cluster into place before the first start, for tests that are not about its creation. */
async function copyTemplate(): Promise<void> {
  await mkdir(directory, { mode: 0o700 });
  await copyCluster(inject('postgresCluster'), directory);
}

function run(options: RunProgramOptions): Program {
  const program = runProgram(EMBEDDED_PROGRAM, options);
  programs.push(program);
  return program;
}

/** Resolves with the address of the database when the program has printed it. */
async function readUrl(program: Program): Promise<string> {
  const printed: unknown = JSON.parse(await program.firstLine);
  return typeof printed === 'object' && printed !== null && 'postgres' in printed ? String(printed.postgres) : '';
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const result = await client.query<Record<string, unknown>>(sql);
    return result.rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function readPid(): Promise<number> {
  return Number.parseInt(await readFile(join(directory, 'data/postmaster.pid'), 'utf8'), 10);
}

it('data and password are the same at the next start', async () => {
  const first = await start();
  await query(first.url, 'CREATE TABLE kept AS SELECT 7 AS value');
  await first.stop();
  await first.stop();
  await expect(query(first.url, 'SELECT 1')).rejects.toThrow('ECONNREFUSED');
  const second = await start();
  expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 7 }]);
  expect(new URL(second.url).password).toBe(new URL(first.url).password);
});

it('the password is required, and in no log and no command line', async () => {
  const { url } = await start();
  const { password } = new URL(url);
  expect(password.length).toBeGreaterThanOrEqual(32);
  expect(logged).toContain('Postgres was started');
  expect(logged).not.toContain(password);
  expect((await readProcess(await readPid()))?.args.join(' ')).not.toContain(password);
  await expect(query(url.replace(password, 'wrong'), 'SELECT 1')).rejects.toThrow('password authentication failed');
});

it('a server killed with SIGKILL restarts on the same address with its data', async () => {
  await copyTemplate();
  const { url } = await start();
  await query(url, 'CREATE TABLE kept AS SELECT 7 AS value');
  const pid = await readPid();
  process.kill(pid, 'SIGKILL');
  const rows = await waitFor(() => query(url, 'SELECT value FROM kept'), {
    what: 'Postgres to be back',
  });
  expect(rows).toEqual([{ value: 7 }]);
  expect(await readPid()).not.toBe(pid);
  expect(logged).toContain('ended unexpectedly');
});

it('an orphaned server of a killed program is stopped, and its data is kept', async () => {
  await copyTemplate();
  const program = run({ args: [folder.path, inject('natsServer')], home: folder.path });
  const url = await readUrl(program);
  await query(url, 'CREATE TABLE kept AS SELECT 7 AS value');
  await program.end('SIGKILL');
  const orphan = await readPid();
  expect(await readProcess(orphan)).toBeDefined();
  // The whole program, because the killed one also left an orphaned nats-server.
  const next = run({ args: [folder.path, inject('natsServer')], home: folder.path });
  const nextUrl = await readUrl(next);
  expect(await query(nextUrl, 'SELECT value FROM kept')).toEqual([{ value: 7 }]);
  expect(await readProcess(orphan)).toBeUndefined();
  await next.end('SIGTERM');
});

it('exactly one of several programs that start on one data directory after a kill succeeds', async () => {
  await copyTemplate();
  await writeFile(join(folder.path, `lock.${process.pid}.1-00000000`), '');
  const options = { args: [folder.path, inject('natsServer')], home: folder.path };
  const contenders = [1, 2, 3].map(() => run(options));
  const results = await Promise.allSettled(contenders.map((program) => program.firstLine));
  const refusals = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
  expect(refusals).toHaveLength(2);
  expect(refusals.every((text) => text.includes('is in use by process'))).toBe(true);
});

it('the remains of an interrupted initdb are deleted', async () => {
  await mkdir(join(directory, 'initdb-half/data'), { recursive: true });
  await start();
  expect((await readdir(directory)).toSorted()).toEqual(['data', 'password']);
});

it('a database with a missing password file gets no new password', async () => {
  await copyTemplate();
  const server = await start();
  await server.stop();
  await rm(join(directory, 'password'));
  await expect(start()).rejects.toThrow('its file "password" is missing');
  await writeFile(join(directory, 'password'), 'another');
  await expect(start()).rejects.toThrow('rejects the password');
});

it.runIf(isRoot)(
  'started by root, Postgres runs as the user nobody, even below a folder that this user may not enter',
  async () => {
    await start();
    const status = await readFile(`/proc/${await readPid()}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
    // Capability 1 is CAP_DAC_OVERRIDE.
    expect(status).toMatch(/^CapEff:\s+0000000000000002$/m);
  },
);

it.runIf(isRoot)('the capability is used only if a folder requires it', async () => {
  await mkdir(directory);
  expect((await createLauncher(['/usr/bin/env'])).prefix.join(' ')).not.toContain('dac_override');
  expect((await createLauncher(['/usr/bin/env', directory])).prefix.join(' ')).toContain('dac_override');
});

it.runIf(isRoot)('if the user nobody may enter every folder, Postgres runs without capabilities', async (context) => {
  await copyTemplate();
  await chmod(folder.path, 0o755);
  const binaries = Object.values(await findPostgresBinaries());
  context.skip((await createLauncher(binaries)).prefix.join(' ').includes('dac_override'), 'the repository is private');
  await start();
  expect(await readFile(`/proc/${await readPid()}/status`, 'utf8')).toMatch(/^CapEff:\s+0000000000000000$/m);
});

it('an ordinary user can run it, even if another process has the pid of a killed server', async (context) => {
  // Uid 1 is daemon on every Linux. The repository may be in a folder that it cannot read.
  const uid = isRoot ? 1 : undefined;
  const home = join(folder.path, 'home');
  await mkdir(home);
  const binary = join(home, 'nats-server');
  await copyFile(inject('natsServer'), binary);
  const asUser = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, '--clear-groups'];
  if (uid !== undefined) {
    await chmod(folder.path, 0o755);
    await chown(home, uid, uid);
    context.skip(!(await canRead(uid, import.meta.filename)), 'the repository is private');
  }
  directory = join(home, 'data/postgres');
  const options = { args: [join(home, 'data'), binary], uid, home };
  const first = run(options);
  await first.firstLine;
  const pidFile = await readFile(join(directory, 'data/postmaster.pid'), 'utf8');
  await first.end('SIGTERM');
  await expect(access(join(directory, 'data/postmaster.pid'))).rejects.toThrow('ENOENT');
  const bystander = spawn('env', [...asUser, 'sleep', '60'], { stdio: 'ignore' });
  await writeFile(join(directory, 'data/postmaster.pid'), pidFile.replace(/^\d+/, String(bystander.pid)));
  const second = run(options);
  const url = await readUrl(second);
  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
  await second.end('SIGTERM');
  bystander.kill('SIGKILL');
});

it('data of another major version is an error with a remedy', async () => {
  await copyTemplate();
  const server = await start();
  await server.stop();
  await writeFile(join(directory, 'data/PG_VERSION'), '15\n');
  await expect(start()).rejects.toThrow(
    /is of Postgres 15, but this program includes Postgres 18: .* set DATABASE_URL to a Postgres 15/,
  );
});
