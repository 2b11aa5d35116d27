import { setTimeout as delay } from 'node:timers/promises';
import { type Api, InterruptedError } from './api.ts';
import { LOG_CURSOR } from './operations.ts';
import type { Context } from './run.ts';

const RECONNECT_MS = 1_000;

/**
 * A cursor of the present, after which a delivery log can be read again even if it breaks before its first value. Undefined if
 * the signal aborts; throws an InterruptedError when the connection breaks.
 */
export async function presentOfLog(api: Api, signal: AbortSignal): Promise<string | undefined> {
  for await (const { deliveryLogCursor } of api.watch(LOG_CURSOR, { variables: {}, signal })) return deliveryLogCursor;
  return undefined;
}

type Following<Value> = {
  /** Returns the cursor after which the stream begins, if the stream has cursors. Repeated after an interruption. */
  readonly begin?: () => Promise<string | undefined>;
  readonly open: (after: string | undefined) => ReturnType<Api['watch']> & AsyncIterable<Value>;
  /** Returns the cursor to continue from, if the stream has cursors. */
  readonly onValue: (value: Value) => Promise<string> | string | undefined;
  /** Whether the stream has ended with its last value. Left out: it never ends. */
  readonly isOver?: () => boolean;
};

/**
 * Reads a live stream until it is over or the signal aborts. After an interruption it reconnects and continues after the
 * last value.
 */
export async function follow<Value>(
  { out, signal }: Pick<Context, 'out' | 'signal'>,
  { begin, open, onValue, isOver = () => false }: Following<Value>,
): Promise<void> {
  let cursor: string | undefined;
  let isInterrupted = false;
  while (!signal.aborted && !isOver()) {
    try {
      cursor ??= await begin?.();
      for await (const value of open(cursor)) {
        if (isInterrupted) out.note('Connected again.');
        isInterrupted = false;
        cursor = await onValue(value);
      }
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error;
      if (!isInterrupted) out.note(`Interrupted: ${error.message}; reconnecting every second.`);
      isInterrupted = true;
    }
    if (!isOver()) await delay(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
  }
}
