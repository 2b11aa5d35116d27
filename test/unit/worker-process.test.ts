import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { queryObjects } from 'node:v8';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { StartMessage } from '../../src/workers/messages.ts';
import { WorkerPool } from '../../src/workers/pool.ts';
import { WorkerProcess } from '../../src/workers/worker-process.ts';
import { failTwoSpawns } from '../support/failing-spawns.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';

// Each test starts processes.
vi.setConfig({ testTimeout: 60_000 });

/** Answers questions about problems, and ends at a question about metrics. */
const PROGRAM = `
  process.on('message', ({ kind, id, question }) => {
    if (kind === 'stop' || question === 'metrics') process.exit(3);
    if (kind === 'ask') process.send({ kind: 'answer', id, answer: ['a problem'] });
  });
  process.send({ kind: 'ready' });
`;

let folder: TempFolder;
const ownProgram = process.argv[1];
beforeEach(async () => {
  folder = await createTempFolder();
  process.argv[1] = join(folder.path, 'worker.cjs');
  await writeFile(process.argv[1], PROGRAM);
});
afterEach(async () => {
  process.argv[1] = ownProgram ?? '';
  await folder.remove();
});

const countPromises = () => queryObjects(Promise, { format: 'count' });

async function startWorker(): Promise<WorkerProcess> {
  // `as`: this worker reads nothing of the message.
  const start = { kind: 'start', number: 1 } as StartMessage;
  return new Promise((resolve) => {
    const worker: WorkerProcess = new WorkerProcess({
      start,
      onReady: () => {
        resolve(worker);
      },
      writeLines: () => undefined,
    });
    onTestFinished(() => worker.stop(5_000));
  });
}

test('a question leaves nothing in memory while the worker runs', async () => {
  const worker = await startWorker();
  const ask = async (times: number) => {
    for (let count = 0; count < times; count += 1) expect(await worker.ask('problems')).toEqual(['a problem']);
  };
  await ask(10);
  const before = countPromises();
  await ask(50);
  expect(countPromises() - before).toBeLessThan(25);
});

test('a question that the worker does not answer before it ends, or that comes later, has no answer', async () => {
  const worker = await startWorker();
  expect(await Promise.all([worker.ask('metrics'), worker.exited])).toEqual([undefined, { code: 3, signal: null }]);
  expect(await worker.ask('problems')).toBeUndefined();
});

test('a worker that cannot be started is started again after the pause of a restart', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'error' }, { write: (line) => void lines.push(line) });
  // `as`: this worker has no configuration.
  const parts = {} as Pick<ConstructorParameters<typeof WorkerPool>[0], 'config' | 'infrastructure'>;
  const pool = new WorkerPool({ ...parts, count: 1, log, writeLines: () => undefined });
  failTwoSpawns();
  pool.start();
  await pool.ready;
  await pool.stop();
  expect(lines).toEqual([
    expect.stringMatching(/EMFILE.*"restartInMs":500.*worker process ended/),
    expect.stringMatching(/ENOMEM.*"restartInMs":1000.*worker process ended/),
  ]);
});
