/**
 * How many attempts are begun in one turn of the event loop. When there is more to do than the processor can, a turn takes as
 * long as what was begun in those before it: with few, answers and other tenants' events are read every some 10 ms, however
 * much waits; with a loop that is not busy, turns are so short that this limits nothing.
 */
const BEGUN_PER_TURN = 8;

/** Where attempts that have room wait for the processor; tenants begin in turn, each its oldest. */
export class BeginTurns {
  readonly #lines = new Map<string, (() => void)[]>();
  #begunThisTurn = 0;
  #waiting = 0;
  #isScheduled = false;

  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when an attempt of this tenant may begin. */
  take(tenant: string): Promise<void> {
    this.#schedule();
    if (this.#waiting === 0 && this.#begunThisTurn < BEGUN_PER_TURN) {
      this.#begunThisTurn += 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const line = this.#lines.get(tenant) ?? [];
      line.push(resolve);
      this.#lines.set(tenant, line);
      this.#waiting += 1;
    });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#begunThisTurn = 0;
      this.#beginSome();
      if (this.#begunThisTurn > 0) this.#schedule();
    });
  }

  #beginSome(): void {
    while (this.#begunThisTurn < BEGUN_PER_TURN) {
      const [next] = this.#lines;
      if (next === undefined) return;
      const [tenant, line] = next;
      // To the end: everybody else comes first.
      this.#lines.delete(tenant);
      const begin = line.shift();
      if (line.length > 0) this.#lines.set(tenant, line);
      this.#begunThisTurn += 1;
      this.#waiting -= 1;
      begin?.();
    }
  }
}
