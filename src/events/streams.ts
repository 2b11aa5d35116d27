import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  NatsError,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from 'nats';
import type { Logger } from 'pino';

export type Durable = 'dispatcher' | 'sender';

const HOUR_MS = 3_600_000;

/**
 * EVENTS keeps what was published for three days whether dispatched or not: until the dispatcher has written it, this
 * stream is the only place an event is in. Its duplicate window is the shortest there is, because JetStream compares
 * `Nats-Msg-Id` across the whole stream, and two tenants may use the same id; Postgres does the real de-duplication.
 */
const STREAMS: readonly (Partial<StreamConfig> & { readonly name: string })[] = [
  {
    name: 'EVENTS',
    subjects: ['events.>'],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    max_age: nanos(72 * HOUR_MS),
    duplicate_window: nanos(100),
  },
  {
    // A work queue: a message is gone once it is acked. What waits longer than a minute waits in Postgres, so an old
    // message here is a stray one.
    name: 'DELIVERIES',
    subjects: ['deliveries.*'],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_age: nanos(24 * HOUR_MS),
    duplicate_window: nanos(120_000),
  },
];

const CONSUMERS: Readonly<Record<Durable, { stream: string; config: Partial<ConsumerConfig> }>> = {
  dispatcher: {
    stream: 'EVENTS',
    config: {
      durable_name: 'dispatcher',
      filter_subject: 'events.>',
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      // Short, because writing an event twice is harmless, and this is how long events wait after a crash.
      ack_wait: nanos(10_000),
      max_ack_pending: 1_000,
      max_deliver: -1,
    },
  },
  sender: {
    stream: 'DELIVERIES',
    config: {
      durable_name: 'sender',
      filter_subject: 'deliveries.*',
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      // Longer than the longest attempt (30 s), and extended while one runs.
      ack_wait: nanos(60_000),
      // Room for the short waits of every sender process (at most 1,000 each) beside what is in flight.
      max_ack_pending: 10_000,
      max_deliver: -1,
    },
  },
};

export function streamOf(durable: Durable): string {
  return CONSUMERS[durable].stream;
}

/**
 * Creates the streams and consumers that are missing, and re-creates a consumer that stands past the end of its
 * stream: a nats-server of before 2.14 that was killed can hand out sequence numbers again that its consumer believes
 * it has seen, and those messages would never arrive. Returns whether a consumer was created: it delivers everything
 * its stream holds, and calls none of it a redelivery.
 */
export async function ensureStreams(jsm: JetStreamManager, log: Logger): Promise<boolean> {
  for (const config of STREAMS) {
    if ((await found(jsm.streams.info(config.name))) === undefined) {
      await jsm.streams.add(config);
      log.info({ stream: config.name }, 'stream created');
    }
  }
  let created = false;
  for (const wanted of Object.values(CONSUMERS)) created = (await ensureConsumer({ jsm, log }, wanted)) || created;
  return created;
}

type Wanted = { readonly stream: string; readonly config: Partial<ConsumerConfig> };

async function ensureConsumer(
  to: { jsm: JetStreamManager; log: Logger },
  { stream, config }: Wanted,
): Promise<boolean> {
  const name = config.durable_name ?? '';
  // The consumer first: the stream may grow between the two answers, the consumer may not.
  const consumer = await found<ConsumerInfo>(to.jsm.consumers.info(stream, name));
  const { state } = await to.jsm.streams.info(stream);
  if (consumer !== undefined && consumer.delivered.stream_seq > state.last_seq) {
    to.log.error(
      { stream, consumer: name, delivered: consumer.delivered.stream_seq, lastSequence: state.last_seq },
      'consumer stands past the end of its stream after a crash of nats-server; re-creating it',
    );
    await to.jsm.consumers.delete(stream, name);
  } else if (consumer !== undefined) {
    return false;
  }
  await to.jsm.consumers.add(stream, config);
  to.log.info({ stream, consumer: name }, 'consumer created');
  return true;
}

async function found<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.code === 404) return undefined;
    throw error;
  }
}
