import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import { loopClock } from '../../lib/event-loop.ts';
import type { SchemaProblem } from './compile.ts';
import type { CheckResult, SchemaTask } from './schema-worker.ts';

type SchemaThreadOptions = {
  readonly log: Logger;
  readonly metrics: Registry;
  /** Time limit of one task, in milliseconds. Default: 15,000. */
  readonly taskLimitMs?: number;
  /** Limit of the thread's old generation, in MiB. Default: 256. */
  readonly maxHeapMb?: number;
};

export type CheckRequest = {
  /** The JSON text of the schema. */
  readonly schema: string;
  /** JSON texts in UTF-8. */
  readonly data: readonly Buffer[];
  /** Time limit for checking all of the data. */
  readonly limitMs: number;
  /** Time limit for listing all problems of the invalid data. */
  readonly explainMs: number;
  /** Time limit for compiling the schema. Default: 5,000. */
  readonly compileMs?: number;
};

type Task = {
  readonly kind: SchemaTask['kind'];
  readonly bytes: number;
  readonly message: () => SchemaTask;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
};

/**
 * Time limit of a task, including loading the thread's modules. It is a second safeguard: the thread limits its own work to
 * 10.7 s in total (see schema-worker.ts).
 */
const TASK_LIMIT_MS = 15_000;
/** Bounds of the queue. The dispatcher and publishEvent queue at most three checks of 8 MiB at a time. */
const MAX_WAITING = 64;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** A thread that exceeds this heap is terminated. The process continues. */
const MAX_HEAP_MB = 256;
/** The stack has the size of the main thread's. */
const OTHER_LIMITS = { maxYoungGenerationSizeMb: 32, stackSizeMb: 1 } as const;

const STOPPING = 'the program is stopping';

/** The task was not started, or was aborted by `stop`. The error says nothing about the schema. */
export class SchemaThreadUnavailableError extends Error {}

/** In development and in tests the thread runs from source, for which Node.js 20 needs tsx. */
const IS_SOURCE = import.meta.url.endsWith('.ts');
const ENTRY = new URL(`./schema-worker.${IS_SOURCE ? 'ts' : 'js'}`, import.meta.url);
const LOAD_SOURCE = `import('tsx/esm/api').then(({ register }) => { register(); return import('${ENTRY.href}'); })`;

/**
 * One thread that compiles JSON Schemas and checks data against them, outside the event loop. The first task starts it. A
 * task that exceeds its time limit or crashes the thread is rejected, and the next task starts a new thread. Checks have
 * priority over compilations. After `stop` every task is rejected.
 */
export class SchemaThread {
  readonly #options: SchemaThreadOptions;
  readonly #terminations: Counter<'reason'>;
  readonly #waiting: Task[] = [];
  #waitingBytes = 0;
  #running: Task | undefined;
  #worker: Worker | undefined;
  #clearLimit: () => void = () => undefined;
  #isStopped = false;

  constructor(options: SchemaThreadOptions) {
    this.#options = options;
    this.#terminations = new Counter({
      registers: [options.metrics],
      name: 'webhooks_schema_thread_terminations_total',
      help: 'JSON Schema threads that were terminated during a task: over its time limit, or by a failure such as a full heap',
      labelNames: ['reason'],
    });
    for (const reason of ['time_limit', 'failure']) this.#terminations.inc({ reason }, 0);
  }

  /** Returns the problems because of which this JSON text cannot be the schema of an event type. */
  async compile(schema: string): Promise<readonly SchemaProblem[]> {
    const message = (): SchemaTask => ({ kind: 'compile', schema });
    // `as`: the thread's reply to a task of this kind.
    return (await this.#add({ kind: 'compile', bytes: schema.length, message })) as readonly SchemaProblem[];
  }

  /** Checks data against a schema. */
  async check({ data, ...request }: CheckRequest): Promise<CheckResult> {
    const bytes = data.reduce((sum, { length }) => sum + length, request.schema.length);
    const message = (): SchemaTask => ({
      kind: 'check',
      ...request,
      // A copy, because transferring a Buffer would transfer the whole ArrayBuffer that it is a part of.
      data: new Uint8Array(Buffer.concat(data)),
      lengths: data.map(({ length }) => length),
    });
    // `as`: as above.
    return (await this.#add({ kind: 'check', bytes, message })) as CheckResult;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const worker = this.#worker;
    this.#end(new SchemaThreadUnavailableError(STOPPING));
    for (const { reject } of this.#waiting.splice(0)) reject(new SchemaThreadUnavailableError(STOPPING));
    await worker?.terminate();
  }

  #add(task: Omit<Task, 'resolve' | 'reject'>): Promise<unknown> {
    const isFull = this.#waiting.length >= MAX_WAITING || this.#waitingBytes + task.bytes > MAX_WAITING_BYTES;
    if (this.#isStopped) return Promise.reject(new SchemaThreadUnavailableError(STOPPING));
    if (isFull) return Promise.reject(new SchemaThreadUnavailableError('too many tasks are waiting'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...task, resolve, reject });
      this.#waitingBytes += task.bytes;
      this.#next();
    });
  }

  #next(): void {
    if (this.#running !== undefined || this.#waiting.length === 0) return;
    const [task] = this.#waiting.splice(
      Math.max(
        0,
        this.#waiting.findIndex(({ kind }) => kind === 'check'),
      ),
      1,
    );
    if (task === undefined) return;
    this.#running = task;
    this.#waitingBytes -= task.bytes;
    try {
      this.#begin(task);
    } catch (error) {
      // No thread could be started, for example at the limit of processes.
      void this.#worker?.terminate();
      this.#fail('failure', error instanceof Error ? error : new Error('no schema thread', { cause: error }));
    }
  }

  #begin(task: Task): void {
    const worker = (this.#worker ??= this.#start());
    const message = task.message();
    worker.postMessage(message, message.kind === 'check' ? [message.data.buffer] : []);
    // The loop clock does not count time during which this process was stalled.
    this.#clearLimit = loopClock.after(this.#options.taskLimitMs ?? TASK_LIMIT_MS, () => {
      void worker.terminate();
      this.#fail('time_limit', new Error('a task of the schema thread took too long'));
    });
  }

  #start(): Worker {
    const worker = new Worker(IS_SOURCE ? LOAD_SOURCE : ENTRY, {
      eval: IS_SOURCE,
      execArgv: ['--enable-source-maps'],
      // Empty, because the environment contains secrets.
      env: {},
      resourceLimits: { ...OTHER_LIMITS, maxOldGenerationSizeMb: this.#options.maxHeapMb ?? MAX_HEAP_MB },
    });
    const onEnd = (error: Error) => {
      if (this.#worker === worker) this.#fail('failure', error);
    };
    worker.on('message', (result: unknown) => {
      if (this.#worker !== worker) return;
      const task = this.#running;
      this.#endTask();
      task?.resolve(result);
      this.#next();
    });
    worker.on('error', (error) => {
      onEnd(error instanceof Error ? error : new Error('the schema thread failed', { cause: error }));
    });
    worker.on('exit', (code) => {
      onEnd(new Error(`the schema thread ended with code ${code}`));
    });
    // The thread must not keep the process alive.
    worker.unref();
    return worker;
  }

  #fail(reason: 'time_limit' | 'failure', error: Error): void {
    this.#terminations.inc({ reason });
    this.#options.log.error({ err: error, reason }, 'schema thread terminated; the next task starts another one');
    this.#end(error);
    this.#next();
  }

  #end(error: Error): void {
    const task = this.#running;
    this.#worker = undefined;
    this.#endTask();
    task?.reject(error);
  }

  #endTask(): void {
    this.#running = undefined;
    this.#clearLimit();
    this.#clearLimit = () => undefined;
  }
}
