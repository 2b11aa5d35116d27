import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { startChild } from '../lib/start-child.ts';
import { ServerStartError } from '../lib/start-error.ts';

export type SupervisedProcessOptions = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly log: Logger;
  /** Called repeatedly until it returns true. Each call must limit its own duration. If it throws, the start fails. */
  readonly isReady: () => Promise<boolean>;
  readonly readyTimeoutMs: number;
  readonly stopSignal: NodeJS.Signals;
  readonly stopTimeoutMs: number;
  /** Reads the end of the log file of a process that does not log to its output. */
  readonly readLastLog?: () => Promise<string>;
};

type Run = {
  readonly child: ChildProcess;
  /** On the clock of performance.now(). */
  readonly startedAt: number;
  /** Resolves with the exit code, the signal or the spawn error when the process ends. */
  readonly ended: Promise<string>;
  /**
   * Resolves when all writers of its output have closed it. Children of a killed Postgres keep the output open, so callers
   * race it with a timeout.
   */
  readonly closed: Promise<unknown>;
  hasEnded: boolean;
};

/** Only the variables that a program needs: the child gets no secrets of the engine and no settings such as PGDATA. */
const CHILD_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const KEPT_LINES = 20;
/** A process that ran for longer than this is restarted after the shortest pause. */
const STEADY_MS = 10_000;
const SHORTEST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/**
 * A child process that is restarted when it ends without `stop()`: with the same arguments, after a pause that doubles from
 * 100 ms to 5 s. The number of restarts is unlimited, because the engine cannot work without the process.
 */
export class SupervisedProcess {
  readonly #options: SupervisedProcessOptions;
  readonly #stopping = new AbortController();
  readonly #lines: string[] = [];
  #run: Run | undefined;
  #supervision: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: SupervisedProcessOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#run?.child.pid;
  }

  /** Resolves when the process is ready. Rejects if the first start fails; it is not retried. */
  async start(): Promise<void> {
    this.#stopping.signal.throwIfAborted();
    const run = this.#spawn();
    try {
      await this.#untilReady(run);
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#supervision = this.#supervise(run);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    const { name, log, stopSignal, stopTimeoutMs } = this.#options;
    const run = this.#run;
    if (run !== undefined && !run.hasEnded) {
      run.child.kill(stopSignal);
      const timer = setTimeout(() => {
        log.warn(`${name} did not stop within ${stopTimeoutMs} ms; sending SIGKILL`);
        run.child.kill('SIGKILL');
      }, stopTimeoutMs);
      await run.ended;
      clearTimeout(timer);
    }
    await this.#supervision;
  }

  async #supervise(first: Run): Promise<void> {
    const { name, log } = this.#options;
    let pauseMs = SHORTEST_PAUSE_MS;
    for (let run = first; ; run = this.#spawn()) {
      const ending = await run.ended;
      if (this.#stopping.signal.aborted) {
        return;
      }
      pauseMs = performance.now() - run.startedAt > STEADY_MS ? SHORTEST_PAUSE_MS : pauseMs;
      log.error({ ending, lastOutput: await this.#lastOutput() }, `${name} ended unexpectedly; restarting it`);
      await delay(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      // `stop()` may have been called during the pause. Checked in a function, because TypeScript narrows
      // `signal.aborted` to false after the check above.
      if (isAborted(this.#stopping.signal)) {
        return;
      }
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  #spawn(): Run {
    const { name, command, args, log } = this.#options;
    // In a process group of its own, so that Ctrl-C in the terminal signals the engine alone, which then stops the child.
    const child = startChild(() =>
      spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: CHILD_ENVIRONMENT }),
    );
    // `run.ended` reports the failure. Without a listener the error event would crash this process.
    child.on('error', (error) => {
      log.debug({ err: error }, name);
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        log.debug({ line }, name);
        this.#lines.splice(0, this.#lines.length - KEPT_LINES + 1);
        this.#lines.push(line.slice(0, 500));
      });
    }
    const closed = new Promise((resolve) => child.once('close', resolve));
    // Without a pid it could not be started. A signal to it would go to this process and its group.
    const hasEnded = child.pid === undefined;
    const run: Run = { child, startedAt: performance.now(), ended: endOf(child), closed, hasEnded };
    void run.ended.then(() => {
      run.hasEnded = true;
    });
    log.debug({ childPid: child.pid }, `${name} was started`);
    this.#run = run;
    return run;
  }

  async #untilReady(run: Run): Promise<void> {
    const { name, isReady, readyTimeoutMs } = this.#options;
    const deadline = performance.now() + readyTimeoutMs;
    for (;;) {
      const ready = await isReady();
      // Checked after `isReady`: if the process has ended, another program answered on its port.
      if (run.hasEnded) {
        throw new ServerStartError(`${name} ended while it started (${await run.ended})`, await this.#lastOutput());
      }
      if (ready) {
        return;
      }
      if (performance.now() > deadline) {
        throw new ServerStartError(`${name} was not ready within ${readyTimeoutMs} ms`, await this.#lastOutput());
      }
      await delay(50);
    }
  }

  async #lastOutput(): Promise<string> {
    await Promise.race([this.#run?.closed, delay(200)]);
    const logged = await this.#options.readLastLog?.().catch(() => '');
    return [...this.#lines, logged ?? ''].join('\n').trim();
  }
}

function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      resolve(signal === null ? `exit code ${code ?? 'unknown'}` : `signal ${signal}`);
    });
    child.once('error', (error) => {
      // With a pid, the error means that a signal could not be sent and the process still runs.
      if (child.pid === undefined) {
        resolve(`it could not be run: ${error.message}`);
      }
    });
  });
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
