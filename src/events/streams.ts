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
  type StreamInfo,
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
 * Keeps streams and consumers as they have to be. A nats-server of before 2.14 that was killed can hand out sequence
 * numbers again that a consumer believes it has passed; those messages would never arrive. A consumer created anew
 * delivers everything its stream holds, and calls none of it a redelivery.
 */
export class StreamKeeper {
  readonly #log: Logger;
  /** The first message of a work queue that its consumer seems to have passed, as it was at the last check. */
  readonly #passed = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Creates what is missing and re-creates a consumer that has lost its place. Returns whether it created a consumer. */
  async check(jsm: JetStreamManager): Promise<boolean> {
    for (const config of STREAMS) {
      if ((await found(jsm.streams.info(config.name))) === undefined) {
        await jsm.streams.add(config);
        this.#log.info({ stream: config.name }, 'stream created');
      }
    }
    let created = false;
    for (const wanted of Object.values(CONSUMERS)) created = (await this.#checkConsumer(jsm, wanted)) || created;
    return created;
  }

  async #checkConsumer(jsm: JetStreamManager, { stream, config }: Wanted): Promise<boolean> {
    const name = config.durable_name ?? '';
    // The consumer first: the stream may grow between the two answers, the consumer may not.
    const consumer = await found<ConsumerInfo>(jsm.consumers.info(stream, name));
    const info = await jsm.streams.info(stream);
    if (consumer !== undefined) {
      const problem = this.#problemOf(consumer, info);
      if (problem === undefined) return false;
      const { delivered, ack_floor: ackFloor } = consumer;
      this.#log.error(
        { stream, consumer: name, delivered, ackFloor, first: info.state.first_seq, last: info.state.last_seq },
        `${problem}, as after a crash of nats-server; re-creating the consumer`,
      );
      await jsm.consumers.delete(stream, name);
    }
    await jsm.consumers.add(stream, config);
    this.#log.info({ stream, consumer: name }, 'consumer created');
    return true;
  }

  #problemOf(
    { stream_name: stream, delivered, ack_floor: ackFloor }: ConsumerInfo,
    info: StreamInfo,
  ): string | undefined {
    const { state, config } = info;
    if (delivered.stream_seq > state.last_seq) return 'a consumer stands past the end of its stream';
    const isPassed =
      config.retention === RetentionPolicy.Workqueue && state.messages > 0 && state.first_seq <= ackFloor.stream_seq;
    // What has just been acked may take a moment to leave the stream.
    const wasPassed = this.#passed.get(stream) === state.first_seq;
    if (isPassed) this.#passed.set(stream, state.first_seq);
    else this.#passed.delete(stream);
    return isPassed && wasPassed ? 'a consumer has passed messages that were never acked' : undefined;
  }
}

type Wanted = { readonly stream: string; readonly config: Partial<ConsumerConfig> };

async function found<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.code === 404) return undefined;
    throw error;
  }
}
