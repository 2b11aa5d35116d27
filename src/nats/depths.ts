import type { JetStreamManager } from 'nats';
import type { NatsNames } from './nats-names.ts';
import type { Durable } from './streams.ts';

/** How much a stream holds, and how far its consumer has got. */
export type Depth = {
  readonly consumer: Durable;
  readonly stream: string;
  readonly messages: number;
  readonly bytes: number;
  /** Its own limit of `bytes`; -1 if it has none. */
  readonly maxBytes: number;
  /** Not delivered to anybody yet. */
  readonly pending: number;
  /** Delivered, and waiting for their ack. */
  readonly unacked: number;
};

export async function readDepths(jsm: JetStreamManager, { events, deliveries }: NatsNames): Promise<Depth[]> {
  const places: [Durable, NatsNames['events']][] = [
    ['dispatcher', events],
    ['sender', deliveries],
  ];
  return Promise.all(
    places.map(async ([consumer, { stream, consumer: name }]) => {
      const [{ state, config }, info] = await Promise.all([jsm.streams.info(stream), jsm.consumers.info(stream, name)]);
      const { num_pending: pending, num_ack_pending: unacked } = info;
      return {
        consumer,
        stream,
        messages: state.messages,
        bytes: state.bytes,
        maxBytes: config.max_bytes,
        pending,
        unacked,
      };
    }),
  );
}
