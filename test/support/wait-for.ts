import { setTimeout as delay } from 'node:timers/promises';

type Falsy = undefined | null | false;

export type WaitForOptions = { readonly timeoutMs?: number; readonly what: string };

/** Asks every 20 ms until the condition holds, and returns what it returned. A throw counts as "not yet". */
export async function waitFor<T>(condition: () => T | Falsy | Promise<T | Falsy>, options: WaitForOptions): Promise<T> {
  const { timeoutMs = 10_000, what } = options;
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
