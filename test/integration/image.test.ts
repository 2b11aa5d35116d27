import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { COMPILED_PROGRAM } from '../support/compiled-program.ts';
import { findOwnPort } from '../support/own-port.ts';
import { runProgram } from '../support/run-program.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';
import { startTestServices, type TestServices, testEnv } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);
/** The uid of daemon on every Linux. It owns no file of the image. */
const UNPRIVILEGED = 1;
const MAX_MEGABYTES = 120;

// This test installs all packages, so it runs only in CI.
const isWanted = process.env['CI'] === 'true' && process.getuid?.() === 0;

let services: TestServices;
let folder: TempFolder;

beforeAll(async () => {
  if (!isWanted) return;
  services = await startTestServices();
  folder = await createTempFolder();
  await chmod(folder.path, 0o755);
});

afterAll(async () => {
  if (!isWanted) return;
  await services.stop();
  await folder.remove();
});

/** Returns the instructions of the Dockerfile, one per line. */
async function instructionsOf(name: string): Promise<string[]> {
  const text = await readFile(join(ROOT, 'deploy/Dockerfile'), 'utf8');
  return [...text.matchAll(new RegExp(`^${name} (.*)$`, 'gm'))].map(([, value]) => value ?? '');
}

it.runIf(isWanted)(
  'the steps of the image create a folder that runs on a read-only file system, within its size limit',
  async () => {
    const app = join(folder.path, 'app');
    await mkdir(join(app, 'deploy'), { recursive: true, mode: 0o755 });
    const copied = ['package.json', 'package-lock.json', 'LICENSE', 'deploy/prune.mjs', 'prisma/migrations'];
    for (const path of copied) await cp(join(ROOT, path), join(app, path), { recursive: true });
    await cp(join(ROOT, 'dist'), join(app, 'dist'), { recursive: true });
    const install = (await instructionsOf('RUN')).at(-1) ?? '';
    expect(install).toContain('--omit=dev');
    await run('sh', ['-c', install], { cwd: app });
    const { stdout } = await run('du', ['-sm', 'node_modules'], { cwd: app });
    expect(Number.parseInt(stdout, 10)).toBeLessThan(MAX_MEGABYTES);

    const port = await findOwnPort();
    // A folder that the user cannot create stands for a read-only file system.
    const HOST = /HOST=(\S+)/.exec((await instructionsOf('ENV')).join(' '))?.[1] ?? '';
    const env = { ...testEnv(services, { LOG_LEVEL: 'info', PORT: String(port), HOST }), DATA_DIR: '/nonexistent' };
    const program = runProgram(relative(ROOT, join(app, COMPILED_PROGRAM)), {
      args: ['start'],
      home: tmpdir(),
      cwd: app,
      env,
      uid: UNPRIVILEGED,
    });
    program.firstLine.catch(() => undefined);
    try {
      await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/health/ready`)).ok, {
        what: 'the program',
      }).catch((error: unknown) => {
        throw new Error(`the program is not ready: ${program.output()}`, { cause: error });
      });
      const [health = ''] = await instructionsOf('HEALTHCHECK');
      const [command = '', ...args] = JSON.parse(health.slice(health.indexOf('['))) as string[];
      await run(command, args, { env: { ...process.env, PORT: String(port) } });
    } finally {
      await program.end('SIGTERM');
    }
    expect(program.child.exitCode, program.output()).toBe(0);
  },
);

it.runIf(isWanted)('the packed program runs in an empty folder with only its packages', async () => {
  const app = join(folder.path, 'packed');
  await mkdir(app);
  const { stdout: packed } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', app], {
    cwd: ROOT,
  });
  // `as`: the output of npm.
  const [tarball] = JSON.parse(packed) as { filename: string; version: string }[];
  await writeFile(join(app, 'package.json'), '{ "private": true }');
  const flags = ['--no-audit', '--no-fund', '--omit=optional', '--prefer-offline'];
  await run('npm', ['install', ...flags, `./${tarball?.filename ?? ''}`], { cwd: app });
  const command = join(app, 'node_modules/.bin/webhooks-engine');
  const env = { PATH: process.env['PATH'] };
  const { stdout: version } = await run(command, ['--version'], { cwd: app, env });
  expect(version).toBe(`webhooks-engine ${tarball?.version ?? ''}\n`);
  // Rejects unless the exit code is 0.
  const { stdout: findings } = await run(command, ['doctor'], { cwd: app, env });
  expect(findings).toContain('DATA_DIR');
});
