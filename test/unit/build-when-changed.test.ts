import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';

// Each build starts several processes.
vi.setConfig({ testTimeout: 60_000 });

/** Stands in for TypeScript's compiler: writes the sources it was given. */
const COMPILER = `
  const { readFileSync, writeFileSync } = require('node:fs');
  const source = readFileSync('src/main.ts', 'utf8');
  if (source === 'broken') process.exit(2);
  writeFileSync('dist/main.js', source);`;

let folder: TempFolder;
let root: string;
beforeEach(async () => {
  folder = await createTempFolder();
  root = join(folder.path, 'a check-out');
  await put('node_modules/typescript/bin/tsc', COMPILER);
  // Stands in for Vite: builds no console.
  await put('node_modules/vite/bin/vite.js', '');
  // Stands in for npm, which takes a second for each run.
  await put('bin/npm', '#!/bin/sh\n');
  await chmod(join(root, 'bin/npm'), 0o755);
  await put('src/main.ts', 'one');
  await put('prisma/schema.prisma', '');
  await mkdir(join(root, 'scripts'));
  await copyFile(join(import.meta.dirname, '../../scripts/build.mjs'), join(root, 'scripts/build.mjs'));
});
afterEach(() => folder.remove());

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

/** Resolves with true if the script built. */
async function build(...args: string[]): Promise<boolean> {
  const env = { PATH: `${join(root, 'bin')}:/usr/bin:/bin` };
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'scripts/build.mjs'), ...args], { env });
  return stdout.includes('Compiling');
}

const whenChanged = () => build('--when-changed');
const built = () => readFile(join(root, 'dist/main.js'), 'utf8');

test('dist is built again only after a change of a source', async () => {
  expect([await whenChanged(), await whenChanged()]).toEqual([true, false]);
  for (const path of ['src/main.ts', 'prisma/schema.prisma', 'package-lock.json', 'src/new.ts']) {
    await put(path, 'two');
    expect([path, await whenChanged(), await whenChanged()]).toEqual([path, true, false]);
  }
  await rm(join(root, 'src/new.ts'));
  expect(await whenChanged()).toBe(true);
  expect(await built()).toBe('two');
  expect(await build()).toBe(true);
});

test('a check says by its exit code whether dist is built, and builds nothing', async () => {
  await expect(build('--check')).rejects.toMatchObject({ code: 1, stdout: '' });
  await whenChanged();
  expect(await build('--check')).toBe(false);
  await put('src/main.ts', 'two');
  await expect(build('--check')).rejects.toMatchObject({ code: 1, stdout: '' });
  expect(await built()).toBe('one');
});

test('changed sources are built although they are older, and unchanged ones are not although they are newer', async () => {
  await whenChanged();
  await utimes(join(root, 'src/main.ts'), new Date(), new Date(Date.now() + 60_000));
  expect(await whenChanged()).toBe(false);
  await put('src/main.ts', 'of another revision');
  await utimes(join(root, 'src/main.ts'), new Date(0), new Date(0));
  expect(await whenChanged()).toBe(true);
  expect(await built()).toBe('of another revision');
});

test('dist is built again after a file in it was changed or deleted', async () => {
  await whenChanged();
  await put('dist/main.js', 'compiled by hand from other sources');
  expect(await whenChanged()).toBe(true);
  await put('dist/left-over.js', '');
  expect(await whenChanged()).toBe(true);
  expect(await readdir(join(root, 'dist'))).toEqual(['.built-from', 'main.js']);
  await rm(join(root, 'dist/main.js'));
  expect(await whenChanged()).toBe(true);
  expect(await built()).toBe('one');
});

test('a failed build is repeated', async () => {
  await put('src/main.ts', 'broken');
  await expect(whenChanged()).rejects.toThrow();
  await expect(whenChanged()).rejects.toThrow();
  await put('src/main.ts', 'one');
  expect(await whenChanged()).toBe(true);
});

test('missing packages are reported in one sentence', async () => {
  await rm(join(root, 'node_modules'), { recursive: true });
  const failure = await whenChanged().then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toMatchObject({ stderr: 'The packages that the build needs are not installed: run "npm ci".\n' });
});
