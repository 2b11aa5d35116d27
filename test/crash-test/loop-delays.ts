export type Delay = { readonly from: number; readonly to: number };

const TICK_MS = 50;

/**
 * Records when the event loop of this process, which has all receivers, was late: on an overloaded machine it reads a request
 * seconds after its sender was killed.
 */
export class LoopDelays {
  /** Each is longer than TICK_MS; times in milliseconds since 1970. */
  readonly delays: Delay[] = [];
  #timer: NodeJS.Timeout | undefined;

  start(): void {
    let last = Date.now();
    this.#timer = setInterval(() => {
      const now = Date.now();
      if (now - last > 2 * TICK_MS) this.delays.push({ from: last + TICK_MS, to: now });
      last = now;
    }, TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Milliseconds of the delays between two times. */
export function delayedBetween(delays: readonly Delay[], from: number, to: number): number {
  return delays.reduce((sum, delay) => sum + Math.max(0, Math.min(delay.to, to) - Math.max(delay.from, from)), 0);
}
