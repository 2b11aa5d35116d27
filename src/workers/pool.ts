import type { Logger } from 'pino';
import type { Config } from '../config/config.ts';
import type { Infrastructure } from '../infrastructure.ts';
import { pause } from '../lib/waiting.ts';
import type { MetricValues } from '../server/metrics.ts';
import { AccumulatedMetrics } from './accumulated-metrics.ts';
import { WorkerProcess } from './worker-process.ts';

type WorkerPoolOptions = {
  readonly count: number;
  readonly config: Config;
  readonly infrastructure: Infrastructure;
  readonly log: Logger;
  /** Receives whole lines of the workers' logs. */
  readonly writeLines: (lines: string) => void;
};

/** Delay before the restart of a worker that has ended. It doubles with each end within STABLE_MS of the start. */
const FIRST_RESTART_MS = 500;
const MAX_RESTART_MS = 30_000;
/** Milliseconds after which a running worker counts as stable: its next restart has the first delay. */
const STABLE_MS = 60_000;
/** A worker that is not ready is a warning for this time, then a problem. */
const RESTART_GRACE_MS = 15_000;
/** Milliseconds after which a stopping worker is killed. Its attempts have 20 s; the program must stop within 25 s. */
const STOP_MS = 21_000;

/** One worker, which is a new process after each restart. */
type Slot = {
  readonly number: number;
  process: WorkerProcess | undefined;
  /** Time since which the worker is not ready (performance.now()); undefined while it is ready. */
  downSince: number | undefined;
  readonly metrics: AccumulatedMetrics;
};

/** Starts the worker processes, restarts those that end, and stops them. start() and stop() may be called repeatedly. */
export class WorkerPool {
  /** Resolves when each worker has been ready once. */
  readonly ready: Promise<void>;
  readonly #options: WorkerPoolOptions;
  readonly #stopping = new AbortController();
  readonly #slots: readonly Slot[];
  readonly #notReadyYet: Set<number>;
  readonly #onAllReady: () => void;
  #running: Promise<unknown> | undefined;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    const numbers = Array.from({ length: options.count }, (_, index) => index + 1);
    this.#slots = numbers.map((number) => ({
      number,
      process: undefined,
      downSince: undefined,
      metrics: new AccumulatedMetrics(),
    }));
    this.#notReadyYet = new Set(numbers);
    let onAllReady: () => void = () => undefined;
    this.ready = new Promise((resolve) => {
      onAllReady = resolve;
    });
    this.#onAllReady = onAllReady;
  }

  start(): void {
    this.#running ??= Promise.all(this.#slots.map((slot) => this.#keepRunning(slot)));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#slots.map(async ({ process }) => process?.stop(STOP_MS)));
    await this.#running;
  }

  /** Problems of the workers, one sentence each. */
  async findProblems(): Promise<readonly string[]> {
    const found = await Promise.all(this.#slots.map((slot) => this.#problemsOf(slot)));
    return found.flat();
  }

  /** Workers that are being restarted. */
  findWarnings(): readonly string[] {
    const restarting = this.#slots.filter((slot) => isDown(slot) && !isDownTooLong(slot));
    return restarting.map(({ number }) => `worker ${number} is starting`);
  }

  /** The metric values of each worker, including the counts of its earlier processes. */
  async metrics(): Promise<readonly MetricValues[]> {
    const values = this.#slots.map(async ({ process, metrics }) => metrics.with(await process?.ask('metrics')));
    return (await Promise.all(values)).flat();
  }

  async #problemsOf(slot: Slot): Promise<readonly string[]> {
    const { number, process } = slot;
    if (isDownTooLong(slot)) return [`worker ${number} is not running`];
    if (process === undefined || isDown(slot)) return [];
    const problems = (await process.ask('problems')) ?? ['it does not answer'];
    // The process may have ended during the request.
    return slot.process === process ? problems.map((problem) => `worker ${number}: ${problem}`) : [];
  }

  async #keepRunning(slot: Slot): Promise<void> {
    const { signal } = this.#stopping;
    const { log } = this.#options;
    const isStopping = () => signal.aborted;
    for (let failures = 0; !isStopping(); ) {
      const startedAt = performance.now();
      slot.downSince ??= startedAt;
      const worker = this.#fork(slot);
      const reason = await worker.exited;
      slot.process = undefined;
      await slot.metrics.retire();
      if (isStopping()) return;
      slot.downSince = performance.now();
      failures = slot.downSince - startedAt > STABLE_MS ? 1 : failures + 1;
      const restartInMs = Math.min(MAX_RESTART_MS, FIRST_RESTART_MS * 2 ** (failures - 1));
      log.error({ worker: slot.number, ...reason, restartInMs }, 'worker process ended; restarting');
      await pause(restartInMs, signal);
    }
  }

  #fork(slot: Slot): WorkerProcess {
    const { config, infrastructure, writeLines } = this.#options;
    const worker = new WorkerProcess({
      start: { kind: 'start', number: slot.number, config, infrastructure },
      writeLines,
      onReady: () => {
        slot.downSince = undefined;
        this.#notReadyYet.delete(slot.number);
        if (this.#notReadyYet.size === 0) this.#onAllReady();
      },
    });
    slot.process = worker;
    return worker;
  }
}

function isDown({ downSince }: Slot): boolean {
  return downSince !== undefined;
}

function isDownTooLong({ downSince }: Slot): boolean {
  return downSince !== undefined && performance.now() - downSince > RESTART_GRACE_MS;
}
