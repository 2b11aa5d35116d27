import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import type { JetStreamMessage } from '../../nats/connection.ts';
import type { Database } from '../../postgres/client.ts';
import type { DeliveryEnvelope } from '../queue/message.ts';
import { requeueDeliveries } from '../queue/store.ts';

/** The part of a message that the sender uses, whether JetStream or this process delivered it. */
export type SenderMessage = Pick<JetStreamMessage, 'seq' | 'headers' | 'redelivered' | 'ack' | 'nak' | 'working'> & {
  /** Handed over by this process: JetStream has no message of the delivery. */
  readonly isDirect?: true;
};

/** Maximum deliveries that wait to be attempted again. Beyond it they are dropped: the sweeper finds them lost. */
const MAX_RETURNED = 1_000;

type DirectDeliveriesOptions = {
  readonly database: Database;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Adds the delivery to the queue of the sender. */
  readonly add: (message: SenderMessage, delivery: DeliveryEnvelope) => void;
};

/**
 * Deliveries that the process hands to its own sender without a message in JetStream (ADR 25). Postgres has them as
 * published, so after a crash the sweeper finds them lost and requeues them.
 */
export class DirectDeliveries {
  readonly #options: DirectDeliveriesOptions;
  readonly #count: Counter;
  /** Deliveries to be attempted later, and those that stop() requeues, by the number of their message. */
  readonly #returned = new Map<number, { readonly deliveryId: string; readonly timer: NodeJS.Timeout | undefined }>();
  #taken = 0;

  constructor(options: DirectDeliveriesOptions) {
    this.#options = options;
    this.#count = new Counter({
      registers: [options.metrics],
      name: 'webhooks_deliveries_direct_total',
      help: 'Deliveries that the sender got from this process, not from JetStream',
    });
  }

  add(delivery: DeliveryEnvelope): void {
    this.#count.inc();
    this.#add(delivery, false);
  }

  /** Requeues the deliveries that were not attempted. To be called once the sender has answered all messages. */
  async stop(): Promise<void> {
    const { database, log } = this.#options;
    const ids = [...this.#returned.values()].map(({ deliveryId, timer }) => {
      clearTimeout(timer);
      return deliveryId;
    });
    this.#returned.clear();
    if (ids.length === 0) return;
    try {
      await requeueDeliveries(database.pool, ids);
    } catch (error) {
      // The sweeper finds them lost.
      log.debug({ err: error, deliveries: ids.length }, 'deliveries of a stopping sender not requeued');
    }
  }

  #add(delivery: DeliveryEnvelope, redelivered: boolean): void {
    this.#taken += 1;
    // Below every sequence of a stream, and unique.
    const seq = -this.#taken;
    const message: SenderMessage = {
      isDirect: true,
      seq,
      headers: undefined,
      redelivered,
      ack: ignore,
      working: ignore,
      nak: (delayMs) => {
        this.#return(seq, { delivery, delayMs });
      },
    };
    this.#options.add(message, delivery);
  }

  /** Without a delay the sender is stopping. */
  #return(
    seq: number,
    { delivery, delayMs }: { readonly delivery: DeliveryEnvelope; readonly delayMs: number | undefined },
  ): void {
    if (this.#returned.size >= MAX_RETURNED) return;
    const again = () => {
      this.#returned.delete(seq);
      this.#add(delivery, true);
    };
    const timer = delayMs === undefined ? undefined : setTimeout(again, delayMs);
    this.#returned.set(seq, { deliveryId: delivery.deliveryId, timer });
  }
}

const ignore = () => undefined;
