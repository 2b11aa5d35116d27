import { once } from 'node:events';
import { readFile, stat, statfs, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { connect, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { EmbeddedServer } from '../../src/embedded/embedded-server.ts';
import { startEmbeddedNats } from '../../src/embedded/nats.ts';
import { readProcess } from '../../src/embedded/running-process.ts';
import { EMBEDDED_PROGRAM } from '../support/compiled-program.ts';
import { findOwnPort } from '../support/own-port.ts';
import { runProgram } from '../support/run-program.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const PASSWORD = 'not-for-everybody';

let folder: TempFolder;
let directory: string;
let running: EmbeddedServer[] = [];
let logged = '';
beforeEach(async () => {
  folder = await createTempFolder();
  directory = join(folder.path, 'nats');
});
afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  running = [];
  await folder.remove();
});

async function start(port?: number): Promise<EmbeddedServer> {
  const log = pino({ level: 'warn' }, { write: (line: string) => void (logged += line) });
  const server = await startEmbeddedNats({ directory, binary: inject('natsServer'), port, password: PASSWORD, log });
  running.push(server);
  return server;
}

async function use<T>(url: string, work: (connection: NatsConnection) => Promise<T>): Promise<T> {
  const { host: servers, username: user, password: pass } = new URL(url);
  const connection = await connect({ servers, user, pass, reconnect: false, timeout: 10_000 });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

async function publish(url: string, bytes = 1): Promise<void> {
  await use(url, async (connection) => {
    await (await connection.jetstreamManager()).streams.add({ name: 'KEPT', subjects: ['kept'] });
    await connection.jetstream().publish('kept', new Uint8Array(bytes));
  });
}

async function countMessages(url: string): Promise<number> {
  return use(url, async (connection) => {
    const manager = await connection.jetstreamManager();
    return (await manager.streams.info('KEPT')).state.messages;
  });
}

async function readPid(): Promise<number> {
  return Number.parseInt(await readFile(join(directory, 'nats.pid'), 'utf8'), 10);
}

it('its streams are limited to the free disk space at the first start, even after later starts', async () => {
  const configPath = join(directory, 'nats.conf');
  const readLimit = async () => Number(/max_file_store: (\d+)/.exec(await readFile(configPath, 'utf8'))?.[1]);
  await (await start()).stop();
  const { bavail, bsize } = await statfs(directory);
  expect(await readLimit()).toBeLessThan(Math.min(bavail * bsize, 17 * 1024 ** 3));
  // The configuration of a smaller disk.
  const smaller = (await readFile(configPath, 'utf8')).replace(/max_file_store: \d+/, 'max_file_store: 50000000');
  await writeFile(configPath, smaller);
  await start();
  expect(await readLimit()).toBe(50_000_000);
});

it('the port is the same at the next start, unless another program uses it', async () => {
  const first = await start();
  await first.stop();
  const second = await start();
  expect(second.url).toBe(first.url);
  await second.stop();
  const other = createServer().listen(Number(new URL(first.url).port), '127.0.0.1');
  await once(other, 'listening');
  const third = await start();
  expect(third.url).not.toBe(first.url);
  expect(logged).toContain('another program uses the previous port of the embedded nats-server');
  await third.stop();
  other.close();
  expect((await start()).url).toBe(third.url);
});

it('a configured port is used, and it is an error if another program uses it', async () => {
  const port = await findOwnPort();
  const { url } = await start(port);
  expect(new URL(url).port).toBe(`${port}`);
  directory = join(folder.path, 'nats-2');
  await expect(start(port)).rejects.toThrow(`NATS_PORT ${port} is used by another program`);
});

it('streams are kept from one start to the next', async () => {
  const first = await start();
  await publish(first.url);
  await first.stop();
  await first.stop();
  const second = await start();
  expect(await countMessages(second.url)).toBe(1);
});

it('clients need its password, which is in no command line', async () => {
  const { url } = await start();
  const { host } = new URL(url);
  await expect(connect({ servers: host, reconnect: false })).rejects.toThrow('Authorization Violation');
  const server = await readProcess(await readPid());
  expect(server?.args.join(' ')).not.toContain(PASSWORD);
  for (const name of ['nats.conf', 'port']) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
});

it('a message of 1 MiB fits with room for its envelope', async () => {
  const { url } = await start();
  await publish(url, 1.5 * 1024 * 1024);
  expect(await countMessages(url)).toBe(1);
  expect(await use(url, (connection) => Promise.resolve(connection.info?.max_payload))).toBe(2_097_152);
});

it('a server killed with SIGKILL restarts on the same address with its streams', async () => {
  const { url } = await start();
  await publish(url);
  const pid = await readPid();
  process.kill(pid, 'SIGKILL');
  const count = await waitFor(() => countMessages(url), { what: 'nats-server to be back' });
  expect(count).toBe(1);
  expect(await readPid()).not.toBe(pid);
});

it('an orphaned server of a killed program is stopped gracefully, and its streams are kept', async () => {
  const program = runProgram(EMBEDDED_PROGRAM, {
    args: [folder.path, inject('natsServer')],
    home: folder.path,
  });
  const printed: unknown = JSON.parse(await program.firstLine);
  const left = typeof printed === 'object' && printed !== null && 'nats' in printed ? String(printed.nats) : '';
  await publish(left);
  await program.end('SIGKILL');
  const orphan = await readPid();
  expect(await readProcess(orphan)).toBeDefined();
  const next = runProgram(EMBEDDED_PROGRAM, {
    args: [folder.path, inject('natsServer')],
    home: folder.path,
  });
  await next.firstLine;
  expect(await readProcess(orphan)).toBeUndefined();
  expect(await readFile(join(directory, 'nats.log'), 'utf8')).toContain(`[${orphan}]`);
  expect(await readFile(join(directory, 'nats.log'), 'utf8')).toMatch(new RegExp(`\\[${orphan}\\].*Server Exiting`));
  await next.end('SIGTERM');
  const { url } = await start();
  expect(await countMessages(url)).toBe(1);
});

it('a nats-server with another directory is not stopped', async () => {
  const { url } = await start();
  directory = join(folder.path, 'nats-2');
  const other = await start();
  expect(other.url).not.toBe(url);
  await use(url, (connection) => connection.flush());
});
