import { pause } from '../lib/pause.ts';

/** When to leave the rest for later. */
export type Pace = { readonly signal: AbortSignal; readonly deadlineMs: number };

/** Between two batches, so that those who deliver come first. */
const PAUSE_MS = 20;

/** Takes steps until one says that there are no more. Returns whether it came to that. */
export async function inBatches(pace: Pace, step: () => Promise<'more' | 'done'>): Promise<boolean> {
  while (hasTime(pace)) {
    if ((await step()) === 'done') return true;
    await pause(PAUSE_MS, pace.signal);
  }
  return false;
}

export function hasTime({ signal, deadlineMs }: Pace): boolean {
  return !signal.aborted && performance.now() < deadlineMs;
}
