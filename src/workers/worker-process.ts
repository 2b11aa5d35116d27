import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { atMost } from '../lib/loop.ts';
import type { Answers, FromWorker, Question, StartMessage, ToWorker } from './messages.ts';

/** Time limit of an answer: the page that asks has to answer within 2 s itself. */
const ANSWER_MS = 1_500;
/** Longest part of a log line that is kept until its end arrives, in characters. */
const MAX_LINE = 1024 * 1024;

export type ExitReason = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

type WorkerOptions = {
  readonly start: StartMessage;
  readonly onReady: () => void;
  /** Receives whole lines of the worker's log. */
  readonly writeLines: (lines: string) => void;
};

/** One life of a worker process: from the fork to the exit. */
export class WorkerProcess {
  readonly exited: Promise<ExitReason>;
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (answer: Answers[Question]) => void>();
  #lastId = 0;
  #isReady = false;

  constructor({ start, onReady, writeLines }: WorkerOptions) {
    // One process writes the log: lines that several processes write to a pipe can be mixed.
    const [, program = ''] = process.argv;
    this.#child = fork(program, ['worker'], { serialization: 'advanced', stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
    // `as`: the pipe of `stdio`.
    forwardLines(this.#child.stdout as Readable, writeLines);
    this.exited = exitOf(this.#child);
    this.#child.on('message', (message: FromWorker) => {
      if (message.kind === 'ready') {
        this.#isReady = true;
        onReady();
      } else {
        this.#answers.get(message.id)?.(message.answer);
      }
    });
    this.#send(start);
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Resolves with undefined if the worker does not answer within 1.5 s. */
  async ask<Q extends Question>(question: Q): Promise<Answers[Q] | undefined> {
    this.#lastId += 1;
    const id = this.#lastId;
    let answer: Answers[Q] | undefined;
    const answered = new Promise<void>((resolve) => {
      this.#answers.set(id, (value) => {
        // `as`: the worker answers each question with its type.
        answer = value as Answers[Q];
        resolve();
      });
    });
    this.#send({ kind: 'ask', id, question });
    await atMost(ANSWER_MS, Promise.race([answered, this.exited]));
    this.#answers.delete(id);
    return answer;
  }

  /** Asks the worker to stop, and kills it if it has not ended after `limitMs`. */
  async stop(limitMs: number): Promise<void> {
    this.#send({ kind: 'stop' });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), limitMs);
    await this.exited;
    clearTimeout(timer);
  }

  /** A message that cannot be sent is for a worker that has ended. */
  #send(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }
}

async function exitOf(child: ChildProcess): Promise<ExitReason> {
  try {
    // `as`: the arguments of the event.
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return { code, signal };
  } catch {
    // The event `error` before the process exists: the system refuses to start one.
    return { code: null, signal: null };
  }
}

/** Passes on whole lines, so that lines of several processes are never mixed. */
export function forwardLines(source: Readable, write: (lines: string) => void): void {
  let rest = '';
  source.setEncoding('utf8');
  source.on('data', (chunk: string) => {
    const end = chunk.lastIndexOf('\n') + 1;
    if (end > 0) write(rest + chunk.slice(0, end));
    rest = end > 0 ? chunk.slice(end) : (rest + chunk).slice(-MAX_LINE);
  });
  source.on('end', () => {
    if (rest !== '') write(`${rest}\n`);
  });
}
