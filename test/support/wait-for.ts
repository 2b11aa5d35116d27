import { setTimeout as delay } from 'node:timers/promises';

type Falsy = undefined | null | false;

/** Limit of a wait that hangs, in milliseconds: shorter than a test's limit, and long enough for a slow machine. */
export const WAIT_TIMEOUT_MS = 120_000;

/** `timeoutMs`: WAIT_TIMEOUT_MS by default. */
export type WaitForOptions = { readonly timeoutMs?: number; readonly what: string };

/** Milliseconds between two evaluations: a twentieth of the time waited so far, within these limits. */
const POLL_MS = { min: 20, max: 250 };

/**
 * Evaluates the condition until it holds, ever less often, and returns its result. An exception counts as "not yet". The
 * condition must stay true once it holds, or this poll can miss it.
 */
export async function waitFor<T>(condition: () => T | Falsy | Promise<T | Falsy>, options: WaitForOptions): Promise<T> {
  const { timeoutMs = WAIT_TIMEOUT_MS, what } = options;
  const start = performance.now();
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false) {
        return value;
      }
    } catch (error) {
      cause = error;
    }
    const waitedMs = performance.now() - start;
    if (waitedMs > timeoutMs) {
      const last = cause === undefined ? '' : `; last error: ${cause instanceof Error ? cause.message : typeof cause}`;
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}${last}`, { cause });
    }
    await delay(Math.min(Math.max(waitedMs / 20, POLL_MS.min), POLL_MS.max));
  }
}

/**
 * Resolves with the answer of `/health/ready` when the process reports that it can work; on a busy machine, a check of a
 * dependency can time out once.
 */
export function waitUntilReady({ url }: { readonly url: string }): Promise<Response> {
  return waitFor(
    async () => {
      const response = await fetch(`${url}/health/ready`);
      return response.ok ? response : undefined;
    },
    { what: 'readiness' },
  );
}
