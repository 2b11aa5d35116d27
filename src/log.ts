import { type Logger, pino } from 'pino';

type LoggedError = {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: LoggedError | string;
};

/**
 * JSON lines on standard output. Of an error only what is named here is logged: clients hang whole connections,
 * requests and rows on theirs, and those hold secrets and customers' data.
 */
export function createLog(level: string): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describeError },
  };
  // Lines are written together while others are being written; the exit waits for them, a kill -9 may lose the last.
  return pino(options, pino.destination({ sync: false }));
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
