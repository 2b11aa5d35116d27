import { setTimeout as delay } from 'node:timers/promises';

type Falsy = undefined | null | false;

/** `timeoutMs` is there to end what hangs, 20 s by default: many times what anything takes on a machine that is slow. */
export type WaitForOptions = { readonly timeoutMs?: number; readonly what: string };

/**
 * Asks every 20 ms until the condition holds, and returns what it returned. A throw counts as "not yet". Whoever asks
 * that seldom must ask for what stays true once it is.
 */
export async function waitFor<T>(condition: () => T | Falsy | Promise<T | Falsy>, options: WaitForOptions): Promise<T> {
  const { timeoutMs = 20_000, what } = options;
  const deadline = Date.now() + timeoutMs;
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
    if (Date.now() > deadline) {
      const last = cause === undefined ? '' : `; last error: ${cause instanceof Error ? cause.message : typeof cause}`;
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}${last}`, { cause });
    }
    await delay(20);
  }
}
