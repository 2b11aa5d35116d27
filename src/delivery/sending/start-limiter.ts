/**
 * Attempts started in one turn of the event loop. Under load a turn takes as long as the attempts that it starts, so a
 * small number lets responses and other tenants' events be read often, and a large one fills the batches of results. Measured
 * (p95 of a quiet tenant beside a fan-out, as a part of its target, ADR 14; throughput as a part of a bare got loop): 8: 0.48 to 1.31,
 * 0.24 and 0.27; 12: 0.83, 0.32; 24: 0.69 to 1.13, 0.32 to 0.41. An idle loop has turns so short that this limits nothing.
 */
const STARTS_PER_TURN = 12;

/** Limits how many attempts start in one turn of the event loop; waiting attempts start round-robin by tenant, FIFO within one. */
export class StartLimiter {
  readonly #startsPerTurn: number;
  readonly #queues = new Map<string, (() => void)[]>();
  #startedThisTurn = 0;
  #waiting = 0;
  #isScheduled = false;

  constructor(startsPerTurn = STARTS_PER_TURN) {
    this.#startsPerTurn = startsPerTurn;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when an attempt of this tenant may start. */
  waitForStart(tenant: string): Promise<void> {
    this.#schedule();
    if (this.#waiting === 0 && this.#startedThisTurn < this.#startsPerTurn) {
      this.#startedThisTurn += 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const queue = this.#queues.get(tenant) ?? [];
      queue.push(resolve);
      this.#queues.set(tenant, queue);
      this.#waiting += 1;
    });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#startedThisTurn = 0;
      this.#startWaiting();
      if (this.#startedThisTurn > 0) this.#schedule();
    });
  }

  #startWaiting(): void {
    while (this.#startedThisTurn < this.#startsPerTurn) {
      const [next] = this.#queues;
      if (next === undefined) return;
      const [tenant, queue] = next;
      // Re-inserted at the end, so that every other tenant comes first.
      this.#queues.delete(tenant);
      const start = queue.shift();
      if (queue.length > 0) this.#queues.set(tenant, queue);
      this.#startedThisTurn += 1;
      this.#waiting -= 1;
      start?.();
    }
  }
}
