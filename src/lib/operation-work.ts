import { DomainError } from './errors.ts';
import { yieldEventLoop } from './event-loop.ts';
import { pause } from './waiting.ts';

/** Maximum bytes that one operation reads. Also the limit of its response. */
export const MAX_OPERATION_BYTES = 16 * 1024 * 1024;
/** Maximum bytes of errors in result unions per operation: the response to a bad request has at most 64 KiB. */
const MAX_ERROR_BYTES = 32 * 1024;
/** Milliseconds. Maximum pause before the tenant's CPU account is checked again. */
const MAX_PAUSE_MS = 1_000;

export class TooManyBytesError extends DomainError {
  readonly code = 'LIMIT_EXCEEDED';

  constructor() {
    super(`one operation may read at most ${MAX_OPERATION_BYTES} bytes; request fewer rows or fields`);
  }
}

class TooMuchErrorTextError extends DomainError {
  readonly code = 'LIMIT_EXCEEDED';

  constructor() {
    super(`one answer may contain at most ${MAX_ERROR_BYTES} bytes of errors; request each of them once`);
  }
}

/** The event loop time that a tenant may use, see auth/quota.ts. */
export type CpuAccount = {
  spend(ms: number): void;
  /** Milliseconds until the tenant may use the event loop again; 0 or less: now. */
  waitMs(): number;
};

/** Milliseconds until the account is checked again; 0: the tenant may use the event loop now. */
export function cpuPauseMs(account: CpuAccount | undefined): number {
  return Math.min(Math.max(0, account?.waitMs() ?? 0), MAX_PAUSE_MS);
}

/** Resolves when the tenant may use the event loop, or when the signal aborts. */
export async function waitForCpu(account: CpuAccount | undefined, signal?: AbortSignal): Promise<void> {
  for (let pauseMs = cpuPauseMs(account); pauseMs > 0 && signal?.aborted !== true; pauseMs = cpuPauseMs(account)) {
    await pause(pauseMs, signal);
  }
}

/** Runs synchronous work and charges its time to the account. */
export function measure<T>(account: CpuAccount | undefined, work: () => T): T {
  const began = performance.now();
  try {
    return work();
  } finally {
    account?.spend(performance.now() - began);
  }
}

export type OperationWork = {
  /**
   * Runs a piece of synchronous work of at most some 10 ms, in the order of the waiting pieces, and charges it to the
   * tenant's account.
   */
  readonly compute: <T>(piece: () => T) => Promise<T>;
  /** Charges unmeasured synchronous work to the tenant's account. */
  readonly spend: (ms: number) => void;
  /** Adds to the bytes that the operation has read. Throws LIMIT_EXCEEDED beyond 16 MiB. */
  readonly takeBytes: (bytes: number) => void;
  /**
   * Reads one page at a time and adds its bytes, so that an operation holds at most its budget and one page in memory.
   * Rejects without reading if the budget is used up.
   */
  readonly readPage: <Row>(read: () => Promise<Row>) => Promise<Row>;
  /** Adds the bytes and returns true if they fit into the budget. Otherwise returns false and adds nothing. */
  readonly tryTakeBytes: (bytes: number) => boolean;
  /** Charges the text of errors in result unions, once for each alias. Throws LIMIT_EXCEEDED beyond 32 KiB. */
  readonly takeErrorText: <T>(text: T) => T;
  /** Resets the budget for the next value of a live stream. */
  readonly renew: () => void;
  /** Starts no further work after this signal aborts. */
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
    await waitForCpu(cpu, signal);
    await yieldEventLoop();
    signal?.throwIfAborted();
    return measure(cpu, piece);
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

/** Estimates the bytes of rows in memory: the length of their text, and a constant for each value. */
function bytesOf(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  if (value instanceof Uint8Array) return value.length;
  if (Array.isArray(value)) return value.reduce<number>((sum, element) => sum + bytesOf(element), 8);
  return Object.values(value).reduce<number>((sum, member) => sum + 8 + bytesOf(member), 8);
}
