import type { EventBus } from './event-bus.ts';

/** Messages in DELIVERIES that no sender has taken: beyond these, a message that is published now, of any tenant, waits long. */
const MANY = 4_000;
const REFRESH_MS = 100;

/** How many messages in DELIVERIES no sender has taken yet. */
export async function undeliveredCount(bus: Pick<EventBus, 'inspect' | 'names'>): Promise<number> {
  const { stream, consumer } = bus.names.deliveries;
  return bus.inspect(async (jsm) => (await jsm.consumers.info(stream, consumer)).num_pending);
}

/** Whether the senders have more than they can take. Never waits: what it says is some 0.1 s old. */
export class StreamDepth {
  readonly #bus: Pick<EventBus, 'inspect' | 'names'>;
  #undelivered = 0;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(bus: Pick<EventBus, 'inspect' | 'names'>) {
    this.#bus = bus;
  }

  /** To be asked by who has just published: it is what notices that there is too much. */
  isCrowded(): boolean {
    if (performance.now() - this.#askedAt >= REFRESH_MS) {
      this.#askedAt = performance.now();
      void this.#refresh();
    }
    return this.#undelivered >= MANY;
  }

  async #refresh(): Promise<void> {
    // While NATS is away, nothing is published anyway.
    this.#undelivered = await undeliveredCount(this.#bus).catch(() => 0);
  }
}
