import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ServerStartError } from '../lib/start-error.ts';

export type SupervisedProcessOptions = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly log: Logger;
  /** Asked again and again, each time bounded by itself; a throw means that it never will be. */
  readonly isReady: () => Promise<boolean>;
  readonly readyTimeoutMs: number;
  readonly stopSignal: NodeJS.Signals;
  readonly stopTimeoutMs: number;
  /** Where the process says more than on its output. */
  readonly readLastLog?: () => Promise<string>;
};

type Run = {
  readonly child: ChildProcess;
  readonly startedAt: number;
  /** How it ended. */
  readonly ended: Promise<string>;
  /** Nobody holds its output any more. A killed Postgres leaves children that do, so it is never waited for alone. */
  readonly closed: Promise<unknown>;
  hasEnded: boolean;
};

/** No more than a program needs: neither our secrets nor settings such as PGDATA reach it. */
const CHILD_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const KEPT_LINES = 20;
const STEADY_MS = 10_000;
const SHORTEST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/**
 * A child process that comes back. When it ends without `stop()`, it is started again with the same arguments, after a
 * pause that doubles up to 5 s. It restarts for ever: without its services the program can do nothing else.
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

  /** Resolves once the process is ready; a first start that fails throws and is not repeated. */
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
        log.warn(`${name} did not stop within ${stopTimeoutMs} ms and is killed`);
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
      pauseMs = Date.now() - run.startedAt > STEADY_MS ? SHORTEST_PAUSE_MS : pauseMs;
      log.error({ ending, lastOutput: await this.#lastOutput() }, `${name} ended unexpectedly; starting it again`);
      await delay(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      // `stop()` may have been called during the pause; TypeScript believes that the signal has not changed since.
      if (isAborted(this.#stopping.signal)) {
        return;
      }
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  #spawn(): Run {
    const { name, command, args, log } = this.#options;
    // A group of its own: Ctrl-C in the terminal is for us alone, and we stop the process when we no longer need it.
    const child = spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: CHILD_ENVIRONMENT });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        log.debug({ line }, name);
        this.#lines.splice(0, this.#lines.length - KEPT_LINES + 1);
        this.#lines.push(line.slice(0, 500));
      });
    }
    // Every failure shows in how the process ends; without a listener the error would end this process.
    child.on('error', (error) => {
      log.debug({ err: error }, name);
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    const run: Run = { child, startedAt: Date.now(), ended: endOf(child), closed, hasEnded: false };
    void run.ended.then(() => {
      run.hasEnded = true;
    });
    log.debug({ childPid: child.pid }, `${name} was started`);
    this.#run = run;
    return run;
  }

  async #untilReady(run: Run): Promise<void> {
    const { name, isReady, readyTimeoutMs } = this.#options;
    const deadline = Date.now() + readyTimeoutMs;
    for (;;) {
      const ready = await isReady();
      // Looked at second: if the process is gone, then something else answered on its port.
      if (run.hasEnded) {
        throw new ServerStartError(`${name} ended while it started (${await run.ended})`, await this.#lastOutput());
      }
      if (ready) {
        return;
      }
      if (Date.now() > deadline) {
        throw new ServerStartError(`${name} was not ready within ${readyTimeoutMs} ms`, await this.#lastOutput());
      }
      await Promise.race([run.ended, delay(50)]);
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
      // Also says that a signal could not be sent; then the process lives on.
      if (child.pid === undefined) {
        resolve(`it could not be run: ${error.message}`);
      }
    });
  });
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
