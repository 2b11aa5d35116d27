/**
 * Attempts begun in one turn of the event loop. Under load a turn takes as long as the attempts of the turns before it, so a
 * small number lets answers and other tenants' events be read often, and a large one fills the batches of results. Measured
 * (p95 of a quiet tenant beside a burst; deliveries a second; Postgres's CPU for 1,000): 8: 272 ms, 970, 0.37 s; 24: 456 ms,
 * 1,061, 0.26 s; 64: 556 ms, 1,115, 0.20 s. A loop with little to do has turns so short that this limits nothing.
 */
const BEGUN_PER_TURN = 24;

/** Where attempts that have room wait for the processor; tenants begin in turn, each its oldest. */
export class StartLimiter {
  readonly #perTurn: number;
  readonly #lines = new Map<string, (() => void)[]>();
  #begunThisTurn = 0;
  #waiting = 0;
  #isScheduled = false;

  constructor(perTurn = BEGUN_PER_TURN) {
    this.#perTurn = perTurn;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when an attempt of this tenant may begin. */
  waitForStart(tenant: string): Promise<void> {
    this.#schedule();
    if (this.#waiting === 0 && this.#begunThisTurn < this.#perTurn) {
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
    while (this.#begunThisTurn < this.#perTurn) {
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
