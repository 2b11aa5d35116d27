import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { Redis } from 'ioredis';
import { type DebianPackage, fetchDebianPackage } from '../src/embedded/debian-package.ts';
import { findProgram } from '../src/embedded/find-program.ts';
import { findFreePort } from '../src/embedded/free-port.ts';
import type { Report } from '../src/embedded/report.ts';
import type { Stack } from './stack.ts';
import { waitUntil } from './wait-until.ts';

export type RedisServer = {
  readonly url: string;
  readonly version: string;
};

const PACKAGE: DebianPackage = { name: 'redis-server', program: 'redis-server', isComplete: true };
const KEPT = join(import.meta.dirname, '../.data/redis');
const LIBRARIES = ['x86_64', 'aarch64'].map((machine) => join(KEPT, `usr/lib/${machine}-linux-gnu`));
/** BullMQ's documentation recommends an append-only file, synced every second, and no eviction. Snapshots are off. */
const SETTINGS = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', '', '--maxmemory-policy', 'noeviction'];

/** Finds redis-server on PATH, or downloads Debian's once. Throws if neither is available. */
async function findRedis(report: Report): Promise<string> {
  const searchPath = (process.env['PATH'] ?? '').split(delimiter);
  const found = await findProgram('redis-server', [...searchPath, join(KEPT, 'usr/bin')]);
  if (found !== undefined) return found;
  report("fetching Debian's redis-server");
  await mkdir(join(KEPT, '..'), { recursive: true, mode: 0o700 });
  // A sibling of KEPT, on the same file system, so that it can be renamed.
  const folder = await mkdtemp(`${KEPT}-`);
  try {
    await fetchDebianPackage(PACKAGE, { searchPath, folder });
    await rename(join(folder, 'root'), KEPT);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return join(KEPT, 'usr/bin/redis-server');
}

/** Reports the reason and returns undefined if Redis cannot start. */
export async function startRedisIfPossible(
  stack: Pick<Stack, 'onStop'>,
  report: Report,
): Promise<RedisServer | undefined> {
  try {
    return await startRedis(stack, await findRedis(report));
  } catch (error) {
    report(`without BullMQ: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** Starts Redis on a free port with its data in a temporary folder. */
async function startRedis(stack: Pick<Stack, 'onStop'>, binary: string): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), 'webhooks-engine-redis-'));
  stack.onStop(() => rm(directory, { recursive: true, force: true }));
  const port = await findFreePort();
  const place = ['--bind', '127.0.0.1', '--port', String(port), '--dir', directory, '--daemonize', 'no'];
  const child = spawn(binary, [...place, ...SETTINGS], {
    detached: true,
    stdio: 'ignore',
    env: { PATH: process.env['PATH'] ?? '', LD_LIBRARY_PATH: LIBRARIES.join(delimiter) },
  });
  const ended = once(child, 'exit');
  // A failed start is detected below, when Redis does not answer.
  ended.catch(() => undefined);
  const client = new Redis(port, { lazyConnect: true, maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  stack.onStop(async () => {
    client.disconnect();
    if (child.exitCode === null && child.kill('SIGTERM')) await ended;
  });
  const hasEnded = () => child.exitCode !== null || child.pid === undefined;
  await waitUntil(async () => hasEnded() || (await answers(client)), 10_000);
  if (hasEnded() || client.status !== 'ready') throw new Error(`${binary} does not start`);
  const info = async (section: string, field: string) => {
    const text = await client.info(section);
    return new RegExp(`^${field}:(.*)\r$`, 'm').exec(text)?.[1] ?? '';
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    version: await info('server', 'redis_version'),
  };
}

async function answers(client: Redis): Promise<boolean> {
  if (client.status === 'wait') client.connect().catch(() => undefined);
  if (client.status !== 'ready') return false;
  await client.ping();
  return true;
}
