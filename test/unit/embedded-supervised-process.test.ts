import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SupervisedProcess, type SupervisedProcessOptions } from '../../src/embedded/supervised-process.ts';
import { failTwoSpawns } from '../support/failing-spawns.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitFor } from '../support/wait-for.ts';

let folder: TempFolder;
let running: SupervisedProcess | undefined;
beforeEach(async () => {
  folder = await createTempFolder();
});
afterEach(async () => {
  await running?.stop();
  await folder.remove();
});

const STAYS = 'setInterval(() => {}, 1000);';
const SAYS_READY = `require('node:fs').appendFileSync('FOLDER/starts', process.pid + ' ');`;

function create(script: string, options: Partial<SupervisedProcessOptions> = {}): SupervisedProcess {
  running = new SupervisedProcess({
    name: 'child',
    command: process.execPath,
    args: ['-e', script.replaceAll('FOLDER', folder.path)],
    log: pino({ level: 'silent' }),
    isReady: () =>
      access(join(folder.path, 'starts')).then(
        () => true,
        () => false,
      ),
    readyTimeoutMs: 10_000,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 5_000,
    ...options,
  });
  return running;
}

async function readStarts(): Promise<string[]> {
  return (await readFile(join(folder.path, 'starts'), 'utf8')).trim().split(' ');
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

it('a process is restarted after every kill', async () => {
  const child = create(`${STAYS}${SAYS_READY}`);
  await child.start();
  for (const count of [2, 3]) {
    process.kill(child.pid ?? 0, 'SIGKILL');
    await waitFor(async () => (await readStarts()).length === count, { what: `start number ${count}` });
  }
});

it('a restart that fails is repeated', { timeout: 60_000 }, async () => {
  const lines: string[] = [];
  const log = pino({ level: 'error' }, { write: (line) => void lines.push(line) });
  const child = create(`${STAYS}${SAYS_READY}`, { log });
  await child.start();
  failTwoSpawns();
  process.kill(child.pid ?? 0, 'SIGKILL');
  await waitFor(async () => (await readStarts()).length === 2, { what: 'the second start' });
  expect(lines).toEqual([
    expect.stringContaining('signal SIGKILL'),
    expect.stringContaining('could not be run: spawn EMFILE'),
    expect.stringContaining('could not be run: spawn ENOMEM'),
  ]);
});

it('a stopped process is not restarted; a second stop and a stop before the start do nothing', async () => {
  const child = create(`${STAYS}${SAYS_READY}`);
  await child.start();
  await Promise.all([child.stop(), child.stop()]);
  expect(isAlive(child.pid ?? 0)).toBe(false);
  expect(await readStarts()).toHaveLength(1);
  await create(STAYS).stop();
});

it('a stop between an exit and the restart prevents the restart', async () => {
  const child = create(`${SAYS_READY}${STAYS}`);
  await child.start();
  process.kill(child.pid ?? 0, 'SIGKILL');
  await waitFor(() => !isAlive(child.pid ?? 0), { what: 'the end of the child' });
  await child.stop();
  expect(await readStarts()).toHaveLength(1);
});

it('a process that ignores its stop signal is killed', async () => {
  const child = create(`process.on('SIGTERM', () => {});${STAYS}${SAYS_READY}`, { stopTimeoutMs: 100 });
  await child.start();
  await child.stop();
  expect(isAlive(child.pid ?? 0)).toBe(false);
});

it('the error of a failed first start has the exit status and the last output', async () => {
  const child = create(`console.error('no space left'); process.exit(3);`);
  await expect(child.start()).rejects.toThrow(/exit code 3.*no space left/s);
});

it('a missing program is an error', async () => {
  const child = create('', { command: join(folder.path, 'nothing') });
  await expect(child.start()).rejects.toThrow(/could not be run.*ENOENT/s);
});

it('a process that never becomes ready is stopped, and the start fails', async () => {
  const child = create(STAYS, { isReady: () => Promise.resolve(false), readyTimeoutMs: 100 });
  await expect(child.start()).rejects.toThrow('not ready within 100 ms');
  expect(isAlive(child.pid ?? 0)).toBe(false);
});

it('an answer on the port does not count after the process has exited', async () => {
  await writeFile(join(folder.path, 'starts'), 'somebody else');
  const child = create('', {
    isReady: () => waitFor(() => !isAlive(child.pid ?? 0), { what: 'the end of the child' }),
  });
  await expect(child.start()).rejects.toThrow('ended while it started (exit code 0)');
});

it('a process does not inherit the environment', async () => {
  process.env['SECRET_OF_OURS'] = 'x';
  const child = create(
    `require('node:fs').writeFileSync('FOLDER/starts', Object.keys(process.env).join(' '));${STAYS}`,
  );
  await child.start();
  delete process.env['SECRET_OF_OURS'];
  expect(await waitFor(async () => (await readStarts()).join() || false, { what: 'the names' })).not.toContain(
    'SECRET',
  );
});
