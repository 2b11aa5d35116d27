import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { startChild } from '../lib/start-child.ts';
import { waitAtMost } from '../lib/waiting.ts';
import type { Answers, FromWorker, Question, StartMessage, ToWorker } from './messages.ts';

/** Time limit of an answer. The HTTP request that needs it has a time limit of 2 s. */
const ANSWER_MS = 1_500;
/** Maximum characters of an incomplete log line that are buffered. */
const MAX_LINE = 1024 * 1024;

export type ExitReason = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why the process could not be started. */
  readonly err?: unknown;
};

type WorkerOptions = {
  readonly start: StartMessage;
  readonly onReady: () => void;
  /** Receives whole lines of the worker's log. */
  readonly writeLines: (lines: string) => void;
};

/** One worker process, from its fork to its exit. */
export class WorkerProcess {
  readonly exited: Promise<ExitReason>;
  readonly #child: ChildProcess;
  /** Settles each open question, with undefined when the process has ended. */
  readonly #answers = new Map<number, (answer: Answers[Question] | undefined) => void>();
  #lastId = 0;

  constructor({ start, onReady, writeLines }: WorkerOptions) {
    // The main process writes all logs, because lines that several processes write to one pipe can be mixed.
    const [, program = ''] = process.argv;
    this.#child = startChild(() =>
      fork(program, ['worker'], { serialization: 'advanced', stdio: ['ignore', 'pipe', 'inherit', 'ipc'] }),
    );
    this.exited = exitOf(this.#child);
    if (this.#child.stdout) forwardLines(this.#child.stdout, writeLines);
    // Once for all questions: a race of each question with `exited` would keep memory until the process ends.
    void this.exited.then(() => {
      for (const settle of this.#answers.values()) settle(undefined);
    });
    this.#child.on('message', (message: FromWorker) => {
      if (message.kind === 'ready') onReady();
      else this.#answers.get(message.id)?.(message.answer);
    });
    this.#send(start);
  }

  /** Resolves with undefined if the worker has ended or does not answer within 1.5 s. */
  async ask<Q extends Question>(question: Q): Promise<Answers[Q] | undefined> {
    if (!this.#child.connected) return undefined;
    this.#lastId += 1;
    const id = this.#lastId;
    let answer: Answers[Q] | undefined;
    const answered = new Promise<void>((resolve) => {
      this.#answers.set(id, (value) => {
        // `as`: the worker's answer has the type of the question.
        answer = value as Answers[Q] | undefined;
        resolve();
      });
    });
    this.#send({ kind: 'ask', id, question });
    await waitAtMost(ANSWER_MS, answered);
    this.#answers.delete(id);
    return answer;
  }

  /** Requests the worker to stop, and kills it if it has not exited after `limitMs`. */
  async stop(limitMs: number): Promise<void> {
    this.#send({ kind: 'stop' });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), limitMs);
    await this.exited;
    clearTimeout(timer);
  }

  /** Sending fails only if the worker has ended, so errors are ignored. */
  #send(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }
}

async function exitOf(child: ChildProcess): Promise<ExitReason> {
  try {
    // `as`: the arguments of the event.
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return { code, signal };
  } catch (err) {
    // `error` before `exit`: the operating system could not start the process.
    return { code: null, signal: null, err };
  }
}

/** Forwards complete lines only, so that lines of several processes are never mixed. */
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
