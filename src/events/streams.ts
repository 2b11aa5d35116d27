import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from 'nats';

export type Durable = 'dispatcher' | 'sender';

export type WantedStream = Partial<StreamConfig> & { readonly name: string };

const HOUR_MS = 3_600_000;

/**
 * EVENTS keeps what was published for three days whether dispatched or not: until the dispatcher has written it, this
 * stream is the only place an event is in. Its duplicate window is the shortest there is, because JetStream compares
 * `Nats-Msg-Id` across the whole stream, and two tenants may use the same id; Postgres does the real de-duplication.
 */
export const STREAMS: readonly WantedStream[] = [
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

export type WantedConsumer = {
  readonly stream: string;
  readonly config: Partial<ConsumerConfig> & { readonly durable_name: Durable };
};

/**
 * None has a filter: each takes all that its stream has. nats-server 2.9 finds what a filter matches in an index by
 * subject, which a kill can leave wrong; then it never delivers some messages, also to a consumer that is created anew.
 */
export const CONSUMERS: Readonly<Record<Durable, WantedConsumer>> = {
  dispatcher: {
    stream: 'EVENTS',
    config: {
      durable_name: 'dispatcher',
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      // Short, because writing an event twice is harmless, and this is how long events wait after a crash.
      ack_wait: nanos(10_000),
      // Room for several dispatchers, each of which may have some 1,000 in hand.
      max_ack_pending: 10_000,
      max_deliver: -1,
    },
  },
  sender: {
    stream: 'DELIVERIES',
    config: {
      durable_name: 'sender',
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      // Longer than the longest attempt (30 s), and extended while one runs.
      ack_wait: nanos(60_000),
      // Room for the short waits of every sender process (at most 1,000 each) beside what is in flight.
      max_ack_pending: 100_000,
      max_deliver: -1,
    },
  },
};

export function streamOf(durable: Durable): string {
  return CONSUMERS[durable].stream;
}
