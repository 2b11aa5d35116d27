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

/** `writeLines` writes complete log lines of other processes to the same output, between lines of this process. */
type Log = { readonly log: Logger; readonly writeLines: (lines: string) => void };

/**
 * Creates the log: JSON lines on standard output. In containers every process has the same `pid`, so lines also have
 * the `hostname`. Of an error, only the fields of LoggedError are logged: libraries attach connections, requests and
 * rows to their errors, and those contain secrets and customers' data.
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
  // Asynchronous, so that a slow reader of the output does not block this process. Lines are dropped while more than
  // MAX_UNREAD_BYTES are buffered.
  const output = pino.destination({ sync: false, maxLength: MAX_UNREAD_BYTES });
  // A line that cannot be written (a full disk) must not end the process. At the exit, pino would retry the flush
  // endlessly.
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

/**
 * `note` counts an occurrence. It returns the occurrences since its last report, or undefined if that report is younger
 * than the interval.
 */
type LogThrottle = { readonly note: () => number | undefined; readonly reset: () => void };

/**
 * Limits how often a frequent log line is written: `note` counts occurrences and returns their number the first time,
 * and then at most once per `intervalMs`.
 */
export function createLogThrottle(intervalMs: number, now: () => number = () => performance.now()): LogThrottle {
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
