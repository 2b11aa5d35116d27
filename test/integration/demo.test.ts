import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Program, runProgram } from '../support/run-program.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitFor } from '../support/wait-for.ts';

let folder: TempFolder;
let demos: Program[] = [];
beforeEach(async () => {
  folder = await createTempFolder();
});
afterEach(async () => {
  await Promise.all(demos.map((demo) => demo.end('SIGTERM')));
  demos = [];
  await folder.remove();
});

function startDemo(): Program {
  const demo = runProgram('dist/demo/main.js', { args: ['--open'], home: folder.path, cwd: folder.path });
  demo.firstLine.catch(() => undefined);
  demos.push(demo);
  return demo;
}

async function codeOf({ child }: Program): Promise<number | null> {
  await waitFor(() => child.exitCode !== null, { what: 'the demo to end' });
  return child.exitCode;
}

test('a second demo in the same folder is an error, and the first one shows all its steps, then the console', async () => {
  const first = startDemo();
  const parts = join(folder.path, '.data/demo');
  const hasBegun = async () => (await readdir(parts)).includes('nats');
  await waitFor(hasBegun, { what: 'the first demo to begin' });
  const second = startDemo();
  expect(await codeOf(second)).toBe(1);
  expect(second.output()).toContain(`is in use by process ${first.child.pid}`);
  const consoleUrl = await waitFor(() => /http\S+\/console\S+/.exec(first.output())?.[0], {
    what: 'the address of the console',
  });
  expect(first.output()).toContain('All 3 events are delivered');
  const page = await fetch(consoleUrl);
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
  first.child.kill('SIGTERM');
  expect(await codeOf(first), first.output()).toBe(0);
  expect(await readdir(parts)).not.toContain('postgres');
  expect(await realpath(join(parts, 'bin'))).toBe(join(await realpath(folder.path), '.data/bin'));
});
