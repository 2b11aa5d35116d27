/**
 * Milliseconds of synchronous work in one turn of the event loop. Remaining work continues in later turns. One piece of
 * work also takes at most this long, so I/O is delayed by at most two pieces.
 */
const MAX_TURN_MS = 10;

let turnBegan: number | undefined;
const waiting: (() => void)[] = [];

/**
 * Await this between two pieces of synchronous work. Returns at once if this turn of the event loop has just begun.
 * Otherwise waits for a later turn, in the order of the calls, so that I/O, timers and other work run between the
 * pieces.
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

/** Resumes one piece per turn: several pieces would block the event loop for their total duration. */
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

/**
 * Milliseconds between two ticks, which measure whether the event loop is blocked. They run only while a limit of this
 * clock is pending.
 */
const TICK_MS = 50;
/** Milliseconds. A tick that is late by at most this is ordinary load. */
const TOLERANCE_MS = 50;
/**
 * Maximum milliseconds by which stalls extend a limit, in addition to the stalls themselves. Leases have a margin of 10
 * s.
 */
const MAX_EXTENSION_MS = 5_000;

/**
 * A monotonic clock, in milliseconds, that stops while the event loop is blocked. Node.js runs due timers before it
 * reads sockets, so after a stall a plain timer would time out a request whose response has already arrived.
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
   * Calls `action` after `ms` milliseconds of this clock, and after the event loop has read the data that arrived by
   * then. Never calls it if the returned function is called first.
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
    // Counted from the end of the tolerance. Counted from the tick, the clock would jump back when the tolerance is
    // exceeded.
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

/** The clock of this process's event loop. It has no cost while no limit is pending. */
export const loopClock = new LoopClock();
