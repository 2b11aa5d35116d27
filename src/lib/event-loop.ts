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
