/**
 * After so many milliseconds of work in one turn of the event loop, what is left is done in later turns. A piece of work is
 * as long as this at most, so that nobody waits for more than two of them.
 */
const MAX_TURN_MS = 10;

let turnBegan: number | undefined;
const waiting: (() => void)[] = [];

/**
 * To be awaited between two pieces of synchronous work. Goes on at once if this turn of the event loop has just begun;
 * otherwise in a turn of its own, in the order of the calls: I/O, timers and other work come in between.
 */
export async function yieldEventLoop(): Promise<void> {
  if (turnBegan === undefined) {
    turnBegan = performance.now();
    setImmediate(nextTurn);
  }
  if (waiting.length === 0 && performance.now() - turnBegan < MAX_TURN_MS) return;
  await new Promise<void>((resolve) => {
    waiting.push(resolve);
  });
}

/** One piece in each turn: several would be as long as all of them together. */
function nextTurn(): void {
  const resume = waiting.shift();
  if (resume === undefined) {
    turnBegan = undefined;
    return;
  }
  turnBegan = performance.now();
  setImmediate(nextTurn);
  resume();
}

/** How often the clock looks whether the event loop runs, while anybody waits by it. */
const TICK_MS = 50;
/** A tick that is late by no more than this is ordinary load. */
const TOLERANCE_MS = 50;
/** How much longer a limit may last for the sake of stalls, beside the stalls themselves: leases have a margin of 10 s. */
const MAX_EXTENSION_MS = 5_000;

/**
 * A monotonic clock, in milliseconds, that stops while the event loop is blocked. Node runs timers that are due
 * before it reads sockets: after a stall, a plain timer would call a request timed out whose answer came long ago.
 */
class LoopClock {
  #stalledMs = 0;
  #tickedAt = 0;
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;

  now(): number {
    const now = performance.now();
    return now - this.#stalledMs - this.#overdueAt(now);
  }

  /**
   * Calls `action` after so many milliseconds of this clock, and then only once the loop has read what came meanwhile;
   * not at all if the returned function is called before.
   */
  after(ms: number, action: () => void): () => void {
    this.#begin();
    let extensionLeftMs = MAX_EXTENSION_MS;
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      clearImmediate(immediate);
      this.#end();
    };
    const check = () => {
      const leftMs = Math.min(dueAt - this.now(), extensionLeftMs);
      if (leftMs >= 1) {
        extensionLeftMs -= leftMs;
        timer = setTimeout(check, leftMs);
        return;
      }
      immediate = setImmediate(() => {
        end();
        action();
      });
    };
    const dueAt = this.now() + ms;
    let timer = setTimeout(check, ms);
    let immediate: NodeJS.Immediate | undefined;
    return end;
  }

  #overdueAt(now: number): number {
    if (this.#timer === undefined) return 0;
    // From the tolerance on, not from the tick on: the clock would jump back at that moment.
    return Math.max(0, now - this.#tickedAt - TICK_MS - TOLERANCE_MS);
  }

  #begin(): void {
    this.#waiting += 1;
    if (this.#timer !== undefined) return;
    this.#tickedAt = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#stalledMs += this.#overdueAt(now);
      this.#tickedAt = now;
    }, TICK_MS);
    this.#timer.unref();
  }

  #end(): void {
    this.#waiting -= 1;
    if (this.#waiting > 0) return;
    this.#stalledMs += this.#overdueAt(performance.now());
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** There is one event loop, so one clock; it takes nothing while nobody waits by it. */
export const loopClock = new LoopClock();
