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
};

export type CheckRequest = {
  /** The JSON text of the schema. */
  readonly schema: string;
  /** JSON texts in UTF-8. */
  readonly data: readonly Buffer[];
  /** For checking all of it. */
  readonly limitMs: number;
  /** For listing all the problems of what was refused. */
  readonly explainMs: number;
};

type Task = {
  readonly kind: SchemaTask['kind'];
  readonly bytes: number;
  readonly message: () => SchemaTask;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
};

/**
 * A backstop: the thread itself stops what takes too long (events/catalogue/schema-worker.ts), and that together takes at most 10.7 s. It also
 * has to load its modules within this time.
 */
const TASK_LIMIT_MS = 15_000;
/** Bounds of the queue. The dispatcher and publishEvent have three checks of 8 MiB at most in it at a time. */
const MAX_WAITING = 64;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Beyond this heap the thread ends, not the process; the stack is that of a main thread. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32, stackSizeMb: 1 } as const;

const STOPPING = 'the program is stopping';

/** The task was not begun, or was ended by the stop: nothing is known about its schema. */
export class SchemaThreadUnavailableError extends Error {}

/** In development and in tests the thread runs from its source, which Node.js 20 reads by means of tsx alone. */
const IS_SOURCE = import.meta.url.endsWith('.ts');
const ENTRY = new URL(`./schema-worker.${IS_SOURCE ? 'ts' : 'js'}`, import.meta.url);
const LOAD_SOURCE = `import('tsx/esm/api').then(({ register }) => { register(); return import('${ENTRY.href}'); })`;

/**
 * One thread that compiles JSON Schemas and checks data against them, so that neither takes time of the event loop. It is
 * started for the first task; a task that takes too long, or that ends the thread, is rejected, and the next one gets a new thread.
 * Checks come before compilations. After `stop` every task is rejected.
 */
export class SchemaThread {
  readonly #options: SchemaThreadOptions;
  readonly #terminations: Counter<'reason'>;
  readonly #waiting: Task[] = [];
  #waitingBytes = 0;
  #running: Task | undefined;
  #worker: Worker | undefined;
  #endLimit: () => void = () => undefined;
  #isStopped = false;

  constructor(options: SchemaThreadOptions) {
    this.#options = options;
    this.#terminations = new Counter({
      registers: [options.metrics],
      name: 'webhooks_schema_thread_terminations_total',
      help: 'Threads for JSON Schemas that ended within a task: over its time limit, or by a failure such as a full heap',
      labelNames: ['reason'],
    });
    for (const reason of ['time_limit', 'failure']) this.#terminations.inc({ reason }, 0);
  }

  /** Why this JSON text cannot be the schema of an event type; empty if it can. */
  async compile(schema: string): Promise<readonly SchemaProblem[]> {
    const message = (): SchemaTask => ({ kind: 'compile', schema });
    // `as`: what the thread answers to a task of this kind.
    return (await this.#add({ kind: 'compile', bytes: schema.length, message })) as readonly SchemaProblem[];
  }

  /** What is wrong with each of these. */
  async check({ data, ...request }: CheckRequest): Promise<CheckResult> {
    const bytes = data.reduce((sum, { length }) => sum + length, request.schema.length);
    const message = (): SchemaTask => ({
      kind: 'check',
      ...request,
      // A copy: a message would take the whole memory that each of the buffers is a part of.
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
    const worker = (this.#worker ??= this.#start());
    const message = task.message();
    worker.postMessage(message, message.kind === 'check' ? [message.data.buffer] : []);
    // A stall of this process is no time that the thread has taken.
    this.#endLimit = loopClock.after(this.#options.taskLimitMs ?? TASK_LIMIT_MS, () => {
      void worker.terminate();
      this.#fail('time_limit', new Error('a task of the schema thread took too long'));
    });
  }

  #start(): Worker {
    const worker = new Worker(IS_SOURCE ? LOAD_SOURCE : ENTRY, {
      eval: IS_SOURCE,
      execArgv: ['--enable-source-maps'],
      // The environment has secrets.
      env: {},
      resourceLimits: RESOURCE_LIMITS,
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
    // It does not keep the process alive.
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
    this.#endLimit();
    this.#endLimit = () => undefined;
  }
}
