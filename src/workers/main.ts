import process from 'node:process';
import { startWorkerApp, type WorkerApp } from '../app.ts';
import { createLog } from '../lib/log.ts';
import { whenAborted } from '../lib/waiting.ts';
import { processMetrics } from '../server/metrics.ts';
import { startTracing } from '../tracing/start.ts';
import type { Answers, Asked, FromWorker, Question, StartMessage, ToWorker } from './messages.ts';

// The program of a worker process. WorkerProcess (worker-process.ts) forks it and sends the configuration.

/**
 * Aborts when the worker has to stop: on a message of the main process, when the main process has ended, or on a signal to
 * the process group. A second signal ends the process immediately.
 */
const stopping = new AbortController();
let app: WorkerApp | undefined;

function stop(): void {
  stopping.abort();
  // The configuration has not arrived, so nothing has to be stopped.
  if (app === undefined) process.exit(0);
}

process.once('disconnect', stop);
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, stop);

process.on('message', (message: ToWorker) => {
  if (message.kind === 'start') void run(message);
  else if (message.kind === 'ask') void answer(message);
  else stop();
});

async function run({ number, config, infrastructure }: StartMessage): Promise<void> {
  const { log } = createLog({ level: config.logLevel, roles: config.roles, worker: number });
  const tracing = await startTracing(config.tracing, log);
  const { ready, stop: stopApp } = (app = startWorkerApp(config, { number, infrastructure, log, tracing }));
  const stopped = new Promise<void>((resolve) => whenAborted(stopping.signal, resolve));
  let exitCode = 0;
  try {
    const running = ready.then(() => {
      send({ kind: 'ready' });
      return stopped;
    });
    await Promise.race([running, stopped]);
  } catch (error) {
    log.error({ err: error }, 'the worker process cannot start');
    exitCode = 1;
  }
  await stopApp();
  log.info('stopped');
  process.exit(exitCode);
}

async function answer({ id, question }: Asked): Promise<void> {
  if (app !== undefined) send({ kind: 'answer', id, answer: await find(question, app) });
}

async function find(question: Question, { metrics, findProblems }: WorkerApp): Promise<Answers[Question]> {
  if (question === 'problems') return findProblems();
  const values = await Promise.all([metrics.getMetricsAsJSON(), processMetrics().getMetricsAsJSON()]);
  return values.flat();
}

function send(message: FromWorker): void {
  // Sending fails only if the main process has ended, so errors are ignored.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}
