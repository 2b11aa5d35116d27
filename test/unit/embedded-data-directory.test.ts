import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lockDataDirectory, readOrCreateSecretFile } from '../../src/embedded/data-directory.ts';
import { readProcess } from '../../src/embedded/running-process.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';

let folder: TempFolder;
beforeEach(async () => {
  folder = await createTempFolder();
});
afterEach(() => folder.remove());

it('a data directory is created with access only for its owner', async () => {
  const path = join(folder.path, 'a/b');
  await lockDataDirectory(path);
  expect((await stat(path)).mode & 0o777).toBe(0o700);
});

it('a second lock is rejected until the first is released', async () => {
  const unlock = await lockDataDirectory(folder.path);
  await expect(lockDataDirectory(folder.path)).rejects.toThrow('already in use by this process');
  await unlock();
  await unlock();
  const unlockAgain = await lockDataDirectory(folder.path);
  await unlockAgain();
  expect(await readdir(folder.path)).toEqual([]);
});

it('a lock of another running process is an error that names its pid; it ends with that process', async () => {
  const other = spawn('sleep', ['60'], { stdio: 'ignore' });
  const startedAt = (await readProcess(other.pid ?? 0))?.startedAt ?? '';
  await writeFile(join(folder.path, `lock.${other.pid ?? 0}.${startedAt}`), '');
  await expect(lockDataDirectory(folder.path)).rejects.toThrow(`in use by process ${other.pid ?? 0}`);
  const ended = new Promise((resolve) => other.once('exit', resolve));
  other.kill('SIGKILL');
  await ended;
  const unlock = await lockDataDirectory(folder.path);
  await unlock();
  expect(await readdir(folder.path)).toEqual([]);
});

it('a lock whose pid now belongs to another process is stale', async () => {
  await writeFile(join(folder.path, 'lock.1.12345-00000000'), '');
  const unlock = await lockDataDirectory(folder.path);
  await unlock();
});

it('a secret file is created once, with access only for its owner, and then read', async () => {
  const path = join(folder.path, 'secret');
  const values = await Promise.all(['one', 'two', 'three'].map((value) => readOrCreateSecretFile(path, () => value)));
  expect(new Set(values).size).toBe(1);
  expect(await readOrCreateSecretFile(path, () => 'another')).toBe(values[0]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder.path)).toEqual(['secret']);
});

it('the first process that creates a secret file wins', async () => {
  const path = join(folder.path, 'secret');
  const create = () => {
    writeFileSync(path, 'theirs');
    return 'ours';
  };
  expect(await readOrCreateSecretFile(path, create)).toBe('theirs');
});

it('white space around a secret is not part of it', async () => {
  const path = join(folder.path, 'secret');
  await writeFile(path, '  kept\r\n');
  expect(await readOrCreateSecretFile(path, () => 'new')).toBe('kept');
});

it('an empty secret file is an error', async () => {
  const path = join(folder.path, 'secret');
  await writeFile(path, '\n');
  await expect(readOrCreateSecretFile(path, () => 'new')).rejects.toThrow(`${path} is empty`);
});
