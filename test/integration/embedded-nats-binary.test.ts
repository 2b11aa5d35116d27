import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { findFreePort } from '../../src/embedded/free-port.ts';
import { type FindNatsServerOptions, findNatsServer } from '../../src/embedded/nats-binary.ts';
import type { NatsRelease } from '../../src/embedded/nats-release.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';

let folder: TempFolder;
let dataDir: string;
let site: Receiver | undefined;
beforeEach(async () => {
  folder = await createTempFolder();
  dataDir = join(folder.path, 'data');
});
afterEach(async () => {
  await site?.close();
  site = undefined;
  await folder.remove();
});

/** Searches on a machine without nats-server, unless the options add one. */
function find(options: Partial<FindNatsServerOptions> = {}): Promise<string> {
  const nothing = { searchPath: '', systemFolders: [], release: undefined };
  const log = pino({ level: 'silent' });
  return findNatsServer({ dataDir, log, report: () => undefined, ...nothing, ...options });
}

/** Creates a folder that contains only tar. */
async function createPathWithTar(): Promise<string> {
  const path = join(folder.path, 'path');
  await mkdir(path);
  await writeFile(join(path, 'tar'), '#!/bin/sh\nexec tar "$@"\n', { mode: 0o755 });
  return path;
}

async function serveRelease(): Promise<NatsRelease> {
  const packed = join(folder.path, 'packed');
  await mkdir(join(packed, 'release'), { recursive: true });
  await copyFile(inject('natsServer'), join(packed, 'release/nats-server'));
  await promisify(execFile)('tar', ['-czf', join(folder.path, 'r.tar.gz'), '-C', packed, 'release']);
  const body = await readFile(join(folder.path, 'r.tar.gz'));
  site = await startReceiver(() => ({ status: 200, body }));
  const sha256 = createHash('sha256').update(body).digest('hex');
  return { url: `${site.url}/r.tar.gz`, sha256, member: 'release/nats-server' };
}

it('a nats-server on PATH is used', async () => {
  const binary = inject('natsServer');
  expect(await find({ searchPath: `/nowhere:${dirname(binary)}` })).toBe(binary);
});

it('a nats-server in the folders of packages is used although they are not in PATH', async () => {
  const binary = inject('natsServer');
  expect(await find({ systemFolders: [dirname(binary)] })).toBe(binary);
});

it('a release is fetched once, kept, and found again without a network', async () => {
  const release = await serveRelease();
  const searchPath = await createPathWithTar();
  const kept = join(dataDir, 'bin/nats-server');
  expect(await find({ searchPath, release })).toBe(kept);
  expect(await readdir(dirname(kept))).toEqual(['nats-server']);
  expect(await find()).toBe(kept);
  expect(site?.requests).toHaveLength(1);
});

it('a release with another checksum is rejected, and its files are deleted', async () => {
  const release = { ...(await serveRelease()), sha256: '0'.repeat(64) };
  const searchPath = await createPathWithTar();
  await expect(find({ searchPath, release })).rejects.toThrow(/has the SHA-256 [0-9a-f]{64} and not 0{64}/);
  await expect(readdir(join(dataDir, 'bin'))).rejects.toThrow('ENOENT');
});

it('the download of a release larger than expected is aborted', async () => {
  site = await startReceiver(() => ({ status: 200, body: Buffer.alloc(33 * 1024 * 1024) }));
  const release = { url: site.url, sha256: '', member: 'x' };
  await expect(find({ searchPath: await createPathWithTar(), release })).rejects.toThrow('is larger than');
});

it('if no source works, the error lists what was tried, the reasons and a remedy', async () => {
  const release = { url: `http://127.0.0.1:${await findFreePort()}/r.tar.gz`, sha256: '', member: 'x' };
  const message = await find({ searchPath: await createPathWithTar(), release }).catch(String);
  expect(message).toContain('PATH: it contains no nats-server');
  expect(message).toMatch(/NATS's release: http:\/\/127.0.0.1:\d+\/r.tar.gz could not be fetched: .*ECONNREFUSED/);
  expect(message).toContain("Debian's package: there is no apt-get on this machine");
  expect(message).toContain('Install nats-server');
  expect(message).toContain('NATS_URL');
});

it('a nats-server that is too old or does not run is skipped, with the reason in the error', async () => {
  const path = join(folder.path, 'path');
  await mkdir(path);
  await writeFile(join(path, 'nats-server'), '#!/bin/sh\necho nats-server: v2.8.4\n');
  await chmod(join(path, 'nats-server'), 0o755);
  await mkdir(join(dataDir, 'bin'), { recursive: true });
  await writeFile(join(dataDir, 'bin/nats-server'), 'not a program', { mode: 0o755 });
  const message = await find({ searchPath: path }).catch(String);
  expect(message).toContain('version 2.8.4 is older than 2.9');
  expect(message).toContain(`${join(dataDir, 'bin/nats-server')}:`);
});
