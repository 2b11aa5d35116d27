import type { StreamMessage } from '../../nats/stream-message.ts';

/** Waits up to this long stay in JetStream; longer ones are left to Postgres and the sweeper. */
export const MAX_SHORT_WAIT_MS = 60_000;
/** Messages that wait count against the consumer's max_ack_pending, so only so many may. */
const MAX_WAITING = 1_000;
/**
 * nats-server restarts its redelivery timer with every nak: sent one by one, some hundred a second keep everything from
 * falling due for seconds. In bursts they do not (measured on 2.9 and 2.15).
 */
const FLUSH_INTERVAL_MS = 250;

/** The messages that this process has told JetStream to deliver again later. */
export class ShortWaits {
  /** When each wait ends, here and below on performance.now()'s clock. */
  #ends: number[] = [];
  #unsent: { readonly message: StreamMessage; readonly dueAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Takes a place for a wait until `dueAt`; false if the wait is too long or there is none left. */
  reserve(dueAt: number, now: number): boolean {
    if (dueAt - now > MAX_SHORT_WAIT_MS) return false;
    if (this.#ends.length >= MAX_WAITING) this.#ends = this.#ends.filter((end) => end > now);
    if (this.#ends.length >= MAX_WAITING) return false;
    this.#ends.push(dueAt);
    return true;
  }

  /** Has the message delivered again at `dueAt`. */
  nakUntil(message: StreamMessage, dueAt: number): void {
    this.#unsent.push({ message, dueAt });
    this.#timer ??= setTimeout(() => {
      this.flush();
    }, FLUSH_INTERVAL_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = performance.now();
    for (const { message, dueAt } of this.#unsent.splice(0)) message.nak(Math.max(1, Math.ceil(dueAt - now)));
  }
}
