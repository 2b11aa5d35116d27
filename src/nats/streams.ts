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
import type { NatsNames } from './nats-names.ts';

/** The part that consumes; its consumer in NATS has this name, after the prefix. */
export type Durable = 'dispatcher' | 'sender';

export type WantedStream = Partial<StreamConfig> & {
  readonly name: string;
  readonly subjects: string[];
  readonly max_bytes: number;
};

export type WantedConsumer = {
  readonly stream: string;
  readonly config: Partial<ConsumerConfig> & { readonly durable_name: string };
};

export type Wanted = {
  readonly streams: readonly WantedStream[];
  readonly consumers: Readonly<Record<Durable, WantedConsumer>>;
};

/** Settings of the streams that are created. */
export type StreamSettings = {
  readonly replicas?: number;
  /** At most; less where JetStream has less room. */
  readonly eventsMaxBytes?: number;
  readonly deliveriesMaxBytes?: number;
};

const HOUR_MS = 3_600_000;
const GIBIBYTE = 1024 ** 3;
export const EVENTS_MAX_BYTES = 8 * GIBIBYTE;
export const DELIVERIES_MAX_BYTES = GIBIBYTE;

/** The streams and consumers of an installation. docs/nats-server.md shows the streams as JSON: a test compares the two. */
export function wantedIn({ events, deliveries }: NatsNames, settings: StreamSettings = {}): Wanted {
  const { replicas = 1, eventsMaxBytes = EVENTS_MAX_BYTES, deliveriesMaxBytes = DELIVERIES_MAX_BYTES } = settings;
  return {
    streams: [
      {
        // Until the dispatcher has written an event to Postgres, this stream is the only place it is in. Its duplicate
        // window is the shortest there is, because JetStream compares `Nats-Msg-Id` across the whole stream, and two
        // tenants may use the same id; Postgres does the real de-duplication.
        name: events.stream,
        subjects: [events.subjects],
        retention: RetentionPolicy.Limits,
        storage: StorageType.File,
        num_replicas: replicas,
        // Full, it refuses new events, which their publishers learn, and never drops one that was not dispatched.
        discard: DiscardPolicy.New,
        max_bytes: eventsMaxBytes,
        max_age: nanos(72 * HOUR_MS),
        duplicate_window: nanos(100),
      },
      {
        // A work queue: a message is gone once it is acked. Waits of more than a minute are in Postgres, so an old
        // message here is a stray one.
        name: deliveries.stream,
        subjects: [deliveries.subjects],
        retention: RetentionPolicy.Workqueue,
        storage: StorageType.File,
        num_replicas: replicas,
        discard: DiscardPolicy.New,
        // So that it never takes the room of EVENTS: the deliveries that it refuses wait in Postgres.
        max_bytes: deliveriesMaxBytes,
        max_age: nanos(24 * HOUR_MS),
        duplicate_window: nanos(120_000),
      },
    ],
    // No consumer has a filter: each takes all that its stream has. nats-server 2.9 finds what a filter matches in an
    // index by subject, which a kill can leave wrong; then it never delivers some messages, also to a consumer that is
    // created anew.
    consumers: {
      dispatcher: {
        stream: events.stream,
        config: {
          durable_name: events.consumer,
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
        stream: deliveries.stream,
        config: {
          durable_name: deliveries.consumer,
          ack_policy: AckPolicy.Explicit,
          deliver_policy: DeliverPolicy.All,
          // Longer than the longest attempt (30 s), and extended while one runs.
          ack_wait: nanos(60_000),
          // Room for the short waits of every sender process (at most 1,000 each) beside what is in flight.
          max_ack_pending: 100_000,
          max_deliver: -1,
        },
      },
    },
  };
}
