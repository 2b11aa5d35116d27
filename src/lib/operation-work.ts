import { setTimeout as delay } from 'node:timers/promises';
import { DomainError } from './errors.ts';
import { yieldEventLoop } from './event-loop.ts';

/** Limit of the bytes that one operation reads, and of its answer. */
export const MAX_OPERATION_BYTES = 16 * 1024 * 1024;
/** Limit of the errors in result unions: the answer to a bad request has at most 64 KiB. */
const MAX_ERROR_BYTES = 32 * 1024;
/** Pages are read one after the other, so that an operation has no more in memory than its budget and one page. */
const MAX_PAUSE_MS = 1_000;

export class TooManyBytesError extends DomainError {
  readonly code = 'LIMIT_EXCEEDED';

  constructor() {
    super(`one operation may read at most ${MAX_OPERATION_BYTES} bytes; ask for fewer rows, or for less of each`);
  }
}

class TooMuchErrorTextError extends DomainError {
  readonly code = 'LIMIT_EXCEEDED';

  constructor() {
    super(`one answer may say at most ${MAX_ERROR_BYTES} bytes about errors; ask for them once`);
  }
}

/** The time of the event loop that a tenant may use, see auth/quota.ts. */
export type CpuAccount = {
  spend(ms: number): void;
  /** In how many milliseconds the tenant may go on. */
  waitMs(): number;
};

export type OperationWork = {
  /** Runs a piece of synchronous work, of some 10 ms at most: in its turn, and on the tenant's account. */
  readonly compute: <T>(piece: () => T) => Promise<T>;
  /** Charges unmeasured synchronous work to the tenant's account. */
  readonly spend: (ms: number) => void;
  /** Counts what has been read. Throws LIMIT_EXCEEDED beyond 16 MiB. */
  readonly takeBytes: (bytes: number) => void;
  /** Reads one page at a time, and counts its rows; does not begin if the budget is used up. */
  readonly readPage: <Row>(read: () => Promise<Row>) => Promise<Row>;
  /** The same, where nothing is counted that does not fit. */
  readonly tryTakeBytes: (bytes: number) => boolean;
  /** Charges the text of errors in result unions, whatever the number of aliases. Throws LIMIT_EXCEEDED beyond 32 KiB. */
  readonly takeErrorText: <T>(text: T) => T;
  /** For each value of a live stream. */
  readonly renew: () => void;
  /** Begins nothing more once this aborts. */
  readonly stopWith: (signal: AbortSignal) => void;
};

export function createOperationWork(cpu: CpuAccount | undefined): OperationWork {
  let signal: AbortSignal | undefined;
  let left = MAX_OPERATION_BYTES;
  let errorBytesLeft = MAX_ERROR_BYTES;
  let reading: Promise<unknown> = Promise.resolve();
  const takeBytes = (bytes: number) => {
    left -= bytes;
    if (left < 0) throw new TooManyBytesError();
  };
  const compute = async <T>(piece: () => T): Promise<T> => {
    for (let waitMs = cpu?.waitMs() ?? 0; waitMs > 0; waitMs = cpu?.waitMs() ?? 0) {
      signal?.throwIfAborted();
      await delay(Math.min(waitMs, MAX_PAUSE_MS));
    }
    await yieldEventLoop();
    signal?.throwIfAborted();
    const began = performance.now();
    try {
      return piece();
    } finally {
      cpu?.spend(performance.now() - began);
    }
  };
  return {
    compute,
    spend: (ms) => cpu?.spend(ms),
    takeBytes,
    tryTakeBytes: (bytes) => {
      if (bytes > left) return false;
      left -= bytes;
      return true;
    },
    readPage: (read) => {
      const page = reading.then(async () => {
        takeBytes(0);
        signal?.throwIfAborted();
        const rows = await read();
        takeBytes(await compute(() => bytesOf(rows)));
        return rows;
      });
      reading = page.catch(() => undefined);
      return page;
    },
    takeErrorText: (text) => {
      errorBytesLeft -= Buffer.byteLength(JSON.stringify(text));
      if (errorBytesLeft < 0) throw new TooMuchErrorTextError();
      return text;
    },
    renew: () => {
      left = MAX_OPERATION_BYTES;
    },
    stopWith: (given) => {
      signal = given;
    },
  };
}

/** An estimate of the memory of rows: their text, and a constant for each value. */
function bytesOf(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  if (value instanceof Uint8Array) return value.length;
  if (Array.isArray(value)) return value.reduce<number>((sum, element) => sum + bytesOf(element), 8);
  return Object.values(value).reduce<number>((sum, member) => sum + 8 + bytesOf(member), 8);
}
