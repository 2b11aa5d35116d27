/**
 * Attempts started in one turn of the event loop. Under load the duration of a turn is that of the starts in it: with a
 * small number, responses and other tenants' events are read often; with a large one, batches of results are fuller. Measured
 * for 8, 12 and 24 starts: the p95 of a quiet tenant beside a fan-out, as a part of its target (ADR 14), was 0.48 to 1.31,
 * 0.83, and 0.69 to 1.13; the throughput, as a part of a bare got loop, was 0.24 to 0.27, 0.32, and 0.32 to 0.41. The turns
 * of an idle loop are so short that this limits nothing.
 */
const STARTS_PER_TURN = 12;

/** Limits the attempts that start in one turn of the event loop. Others wait, round-robin by tenant and FIFO within one. */
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
      // Re-inserted at the end of the round-robin order.
      this.#queues.delete(tenant);
      const start = queue.shift();
      if (queue.length > 0) this.#queues.set(tenant, queue);
      this.#startedThisTurn += 1;
      this.#waiting -= 1;
      start?.();
    }
  }
}
