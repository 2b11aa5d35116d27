import { hostname } from 'node:os';
import process from 'node:process';
import { type Logger, pino } from 'pino';
import { VERSION } from './version.ts';

type LoggedError = {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: LoggedError | string;
};

const MAX_UNREAD_BYTES = 16 * 1024 * 1024;

/** Fields that identify the process that wrote a line. */
type LogOptions = {
  readonly level: string;
  readonly roles: Iterable<string>;
  /** Number of the worker process. */
  readonly worker?: number;
};

/** `writeLines` writes finished lines of other processes between our own. */
type Log = { readonly log: Logger; readonly writeLines: (lines: string) => void };

/**
 * JSON lines on standard output. In containers every process has the same `pid`, so lines have the `hostname` as well. Of an error only what is named here is logged: clients hang whole connections,
 * requests and rows on theirs, and those hold secrets and customers' data.
 */
export function createLog({ level, roles, worker }: LogOptions): Log {
  const options = {
    level,
    base: {
      pid: process.pid,
      hostname: hostname(),
      version: VERSION,
      roles: [...roles].join(','),
      ...(worker !== undefined && { worker }),
    },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describeError },
  };
  // Never waits for a reader: beyond so many bytes of lines that nobody takes, lines are dropped.
  const output = pino.destination({ sync: false, maxLength: MAX_UNREAD_BYTES });
  // A line that cannot be written (a full disk) is no reason to end; and at the exit it would be tried again for ever.
  output.on('error', () => {
    output.flushSync = () => undefined;
  });
  return { log: pino(options, output), writeLines: (lines) => void output.write(lines) };
}

function describeError(error: unknown): LoggedError | string {
  if (!(error instanceof Error)) return String(error);
  return {
    type: error.name,
    message: error.message,
    ...('code' in error && typeof error.code === 'string' ? { code: error.code } : {}),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}

/** `note` counts, and returns the occurrences since the last report, or undefined if that was a moment ago. */
type Seldom = { readonly note: () => number | undefined; readonly reset: () => void };

/**
 * For a line of the log that could come thousands of times: `note` counts, and returns the count the first time and then
 * at most once in `intervalMs`.
 */
export function seldom(intervalMs: number, now: () => number = Date.now): Seldom {
  let count = 0;
  let saidAt = Number.NEGATIVE_INFINITY;
  return {
    note: () => {
      count += 1;
      if (now() - saidAt < intervalMs) return undefined;
      const noted = count;
      count = 0;
      saidAt = now();
      return noted;
    },
    reset: () => {
      count = 0;
      saidAt = Number.NEGATIVE_INFINITY;
    },
  };
}
