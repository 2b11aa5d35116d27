import type { JetStreamManager } from 'nats';
import { CONSUMERS, type Durable } from './streams.ts';

/** How much a stream holds, and how far its consumer has got. */
export type Depth = {
  readonly consumer: Durable;
  readonly stream: string;
  readonly messages: number;
  readonly bytes: number;
  /** Not delivered to anybody yet. */
  readonly pending: number;
  /** Delivered, and waiting for their ack. */
  readonly unacked: number;
};

export async function readDepths(jsm: JetStreamManager): Promise<Depth[]> {
  return Promise.all(
    Object.values(CONSUMERS).map(async ({ stream, config: { durable_name: consumer } }) => {
      const [{ state }, info] = await Promise.all([jsm.streams.info(stream), jsm.consumers.info(stream, consumer)]);
      const { num_pending: pending, num_ack_pending: unacked } = info;
      return { consumer, stream, messages: state.messages, bytes: state.bytes, pending, unacked };
    }),
  );
}
