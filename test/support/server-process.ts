import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { waitFor } from './wait-for.ts';

export type ServerProcessOptions = {
  readonly commandLine: readonly string[];
  readonly stopSignal: NodeJS.Signals;
  readonly isReady: () => Promise<boolean>;
};

/** A server that tests start, pause and kill. Unlike an embedded server, it stays down until `start()`. */
export class ServerProcess {
  readonly #options: ServerProcessOptions;
  #child: ChildProcess | undefined;
  #output = '';

  constructor(options: ServerProcessOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    // Retry: after a kill of Postgres, its children take some milliseconds to exit, and a start fails until then.
    await waitFor(() => this.#tryToStart(), { what: 'the server to be ready' });
  }

  async #tryToStart(): Promise<boolean> {
    const [command = '', ...args] = this.#options.commandLine;
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#output = '';
    child.stderr.on('data', (chunk) => {
      this.#output = `${this.#output}${String(chunk)}`.slice(-2_000);
    });
    this.#child = child;
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    await waitFor(async () => hasEnded() || (await this.#options.isReady()), { what: 'an answer' });
    if (!hasEnded()) {
      return true;
    }
    throw new Error(`it ended: ${this.#output}`);
  }

  /** Makes a nats-server read its configuration again. */
  reload(): void {
    this.#child?.kill('SIGHUP');
  }

  /** Sends SIGKILL and resolves when the process has exited. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Sends the stop signal, and SIGKILL if the process has not exited after 10 s. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), 10_000);
    await this.resume();
    await this.#end(this.#options.stopSignal);
    clearTimeout(timer);
  }

  /** Sends SIGSTOP to the server and its children: connections stay open, and no request is answered. */
  async pause(): Promise<void> {
    await this.#signalAll('SIGSTOP');
    const pid = this.#child?.pid;
    // A thread on another core gets the signal some time later, and can answer until then.
    if (pid !== undefined) await waitFor(() => isStopped(pid), { what: 'the server to be stopped' });
  }

  async resume(): Promise<void> {
    await this.#signalAll('SIGCONT');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      return;
    }
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  /** Signals the server before its children, so that it starts no child after the list is read. */
  async #signalAll(signal: NodeJS.Signals): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined || this.#child?.exitCode !== null || this.#child.signalCode !== null) {
      return;
    }
    this.#child.kill(signal);
    for (const childPid of await findChildren(pid)) {
      try {
        process.kill(childPid, signal);
      } catch {
        // The child has exited since the list was read, as workers of Postgres do.
      }
    }
  }
}

/** Whether every thread of a process is stopped. Always true on systems other than Linux, which have no /proc. */
async function isStopped(pid: number): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  const threads = await readdir(`/proc/${pid}/task`);
  const statuses = await Promise.all(threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/status`, 'utf8')));
  return statuses.every((status) => /^State:\tT/m.test(status));
}

/** Reads /proc on Linux, because slim images have no ps. Other systems use ps. */
async function findChildren(pid: number): Promise<number[]> {
  if (process.platform === 'linux') {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return children.trim().split(' ').filter(Boolean).map(Number);
  }
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=']);
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number));
  return rows.filter(([, parent]) => parent === pid).flatMap(([child]) => child ?? []);
}
