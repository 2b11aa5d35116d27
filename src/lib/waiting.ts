import { setTimeout as delay } from 'node:timers/promises';

/** Waits for `ms` milliseconds, or until the signal aborts. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

/** Waits for work whose result is not needed, for at most `ms` milliseconds. */
export async function waitAtMost(ms: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  await Promise.race([work, pause(ms, timer.signal)]);
  timer.abort();
}

/** Settles with the result of the work, or rejects with the signal's reason when the signal aborts. */
export function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = whenAborted(signal, () => {
      // `as`: without a given reason, the reason is an error, and the engine gives only errors.
      reject(signal.reason as Error);
    });
    work.then(resolve, reject).finally(forget);
  });
}

/** Calls `action` when the signal aborts, at once if it has aborted. The returned function cancels this. */
export function whenAborted(signal: AbortSignal, action: () => void): () => void {
  if (signal.aborted) action();
  else signal.addEventListener('abort', action, { once: true });
  return () => {
    signal.removeEventListener('abort', action);
  };
}

/**
 * A signal that aborts with the given one, or after `ms` milliseconds unless `clear` is called before. AbortSignal.timeout
 * within AbortSignal.any never aborts if the garbage collector runs in between (nodejs/node#57867).
 */
export function limitSignal(
  signal: AbortSignal,
  ms: number,
): { readonly signal: AbortSignal; readonly clear: () => void } {
  const controller = new AbortController();
  const forget = whenAborted(signal, () => {
    controller.abort(signal.reason);
  });
  const timer = setTimeout(() => {
    controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
  }, ms);
  return {
    signal: controller.signal,
    clear: () => {
      clearTimeout(timer);
      forget();
    },
  };
}
