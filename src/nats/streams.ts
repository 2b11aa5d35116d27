import {
  AckPolicy,
  type ConsumerConfig,
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
import type { NatsNames } from './names.ts';

/** The consuming part of the engine. Its consumer in NATS has this name, after the prefix. */
export type Durable = 'dispatcher' | 'sender';

export type RequiredStream = Partial<StreamConfig> & {
  readonly name: string;
  readonly subjects: string[];
  readonly max_bytes: number;
};

export type RequiredConsumer = {
  readonly stream: string;
  readonly config: Partial<ConsumerConfig> & { readonly durable_name: string };
};

export type RequiredSetup = {
  readonly streams: readonly RequiredStream[];
  readonly consumers: Readonly<Record<Durable, RequiredConsumer>>;
};

/** Settings of streams that the engine creates. */
export type StreamSettings = {
  readonly replicas?: number;
  /** Maximum size. Smaller if JetStream has less storage. */
  readonly eventsMaxBytes?: number;
  readonly deliveriesMaxBytes?: number;
};

const HOUR_MS = 3_600_000;
const GIBIBYTE = 1024 ** 3;
export const EVENTS_MAX_BYTES = 8 * GIBIBYTE;
export const DELIVERIES_MAX_BYTES = GIBIBYTE;

/** The streams and consumers of an installation. docs/nats-server.md shows the streams as JSON; a test compares the two. */
export function requiredSetup({ events, deliveries }: NatsNames, settings: StreamSettings = {}): RequiredSetup {
  const { replicas = 1, eventsMaxBytes = EVENTS_MAX_BYTES, deliveriesMaxBytes = DELIVERIES_MAX_BYTES } = settings;
  return {
    streams: [
      {
        // Until the dispatcher has written an event to Postgres, this stream holds the only copy. Its duplicate window
        // is the minimum, because JetStream compares `Nats-Msg-Id` across the whole stream, and two tenants may use the
        // same id. Postgres detects duplicates.
        name: events.stream,
        subjects: [events.subjects],
        retention: RetentionPolicy.Limits,
        storage: StorageType.File,
        num_replicas: replicas,
        // A full stream rejects new events, with an error to their publishers, and never drops an event that was not
        // dispatched.
        discard: DiscardPolicy.New,
        max_bytes: eventsMaxBytes,
        max_age: nanos(72 * HOUR_MS),
        duplicate_window: nanos(100),
      },
      {
        // A work queue: JetStream deletes a message when it is acknowledged. Waits of more than a minute are in
        // Postgres, so an old message is a leftover.
        name: deliveries.stream,
        subjects: [deliveries.subjects],
        retention: RetentionPolicy.Workqueue,
        storage: StorageType.File,
        num_replicas: replicas,
        discard: DiscardPolicy.New,
        // Limited, so that DELIVERIES does not use the storage of EVENTS: deliveries that it rejects wait in Postgres.
        max_bytes: deliveriesMaxBytes,
        max_age: nanos(24 * HOUR_MS),
        duplicate_window: nanos(120_000),
      },
    ],
    // No consumer has a filter: each receives all messages of its stream. nats-server 2.9 finds matching messages in an
    // index by subject, which a kill can leave wrong; then it never delivers some messages, even to a new consumer.
    consumers: {
      dispatcher: {
        stream: events.stream,
        config: {
          durable_name: events.consumer,
          ack_policy: AckPolicy.Explicit,
          deliver_policy: DeliverPolicy.All,
          // Short, because events wait this long after a crash, and writing an event twice is harmless.
          ack_wait: nanos(10_000),
          // Sufficient for several dispatchers, each of which may have 32,000 messages queued (LOOK_AHEAD).
          max_ack_pending: 200_000,
          max_deliver: -1,
        },
      },
      sender: {
        stream: deliveries.stream,
        config: {
          durable_name: deliveries.consumer,
          ack_policy: AckPolicy.Explicit,
          deliver_policy: DeliverPolicy.All,
          // Longer than the longest attempt (30 s); extended while an attempt runs.
          ack_wait: nanos(60_000),
          // Sufficient for nine sender processes with 1,100 short waits, 1,000 messages in flight and 8,000 queued each.
          max_ack_pending: 100_000,
          max_deliver: -1,
        },
      },
    },
  };
}

/** A stream whose values of these settings differ belongs to another application. */
const IDENTITY = ['subjects', 'retention', 'storage'] as const;
/** Wrong values of these settings can lose or replace messages. */
const COMPARED = ['discard', 'duplicate_window'] as const;
/** A stream without limits discards nothing, whatever its policy. */
const COMPARED_WITHOUT_LIMITS = ['duplicate_window'] as const;

type Name = (typeof IDENTITY | typeof COMPARED)[number];

/**
 * A stream with the engine's name that belongs to another application. The engine must not consume from it, store in it
 * or create consumers on it.
 */
export class ForeignStreamError extends Error {}

/**
 * Throws a ForeignStreamError if the stream belongs to another application. Its maximum age, size and replicas are the
 * operator's choice.
 */
export function assertOwnStream(required: Partial<StreamConfig>, actual: Partial<StreamConfig>): void {
  const differences = compare(IDENTITY, { required, actual });
  if (differences.length === 0) return;
  throw new ForeignStreamError(
    `the stream ${required.name ?? ''} was not created by webhooks-engine: its ${differences.join('; its ')}. Set another NATS_PREFIX, or remove that stream`,
  );
}

/**
 * Describes the settings of an own stream that differ from the definition: `duplicate_window is 120000000000, not
 * 100000000`.
 */
export function streamProblems(required: Partial<StreamConfig>, actual: Partial<StreamConfig>): string[] {
  const isLimited = (actual.max_bytes ?? -1) > 0 || (actual.max_msgs ?? -1) > 0;
  return compare(isLimited ? COMPARED : COMPARED_WITHOUT_LIMITS, { required, actual });
}

function compare(
  names: readonly Name[],
  { required, actual }: { readonly required: Partial<StreamConfig>; readonly actual: Partial<StreamConfig> },
): string[] {
  return names
    .map((name) => ({ name, is: JSON.stringify(actual[name]), not: JSON.stringify(required[name]) }))
    .filter(({ is, not }) => is !== not)
    .map(({ name, is, not }) => `${name} is ${is}, not ${not}`);
}

const MEBIBYTE = 1024 * 1024;
/** Minimum size of a created stream. */
const MIN_BYTES = 4 * MEBIBYTE;
/** Minimum size of DELIVERIES as a share of the size of EVENTS. */
const MIN_SHARE = 1 / 8;
/**
 * JetStream's error codes for storage that it cannot reserve: for the account, on the server, on any server of the
 * cluster (the same code as for too few servers), or for a single stream.
 */
const NO_ROOM = new Set<number | undefined>([10002, 10005, 10023, 10047, 10122]);
/** Above this share of its limits, EVENTS is crowded: dispatched events are deleted down to the share UNCROWDED. */
const CROWDED = 0.8;
const UNCROWDED = 0.7;
const NEARLY_FULL = 0.9;
/** Maximum messages deleted one by one in a round (measured: 2,000 per second), and maximum concurrent deletions. */
const MAX_DELETED = 4_000;
const IN_FLIGHT = 64;
/** The next check of a stream takes place before this rate fills a fifth of its size. */
const FAST_BYTES_PER_MS = (4 * MEBIBYTE) / 1_000;

/** Creates a stream with its `max_bytes`, halved until JetStream has enough storage. */
async function createFitting(jsm: JetStreamManager, required: RequiredStream, least: number): Promise<StreamInfo> {
  for (let bytes = required.max_bytes; ; bytes = Math.floor(bytes / 2)) {
    try {
      return await jsm.streams.add({ ...required, max_bytes: bytes });
    } catch (error) {
      if (!isNoRoom(error) || bytes / 2 < least) throw error;
    }
  }
}

function isNoRoom(error: unknown): boolean {
  return error instanceof NatsError && NO_ROOM.has(error.api_error?.err_code);
}

type ToCreate = {
  readonly required: RequiredStream;
  /** EVENTS, if this stream is DELIVERIES. */
  readonly first: StreamInfo | undefined;
  readonly log: Logger;
};

/**
 * Creates a stream with its required size, or the largest that JetStream has storage for. If EVENTS, which is created
 * first, has reserved all storage, EVENTS is shrunk by a quarter, repeatedly if necessary, as long as its messages fill
 * at most half of the new size.
 */
export async function createStream(jsm: JetStreamManager, { required, first, log }: ToCreate): Promise<StreamInfo> {
  let room = first?.config.max_bytes ?? 0;
  for (;;) {
    try {
      const created = await createFitting(jsm, required, Math.max(MIN_BYTES, room * MIN_SHARE));
      const facts = { stream: required.name, maxBytes: created.config.max_bytes };
      if (created.config.max_bytes === required.max_bytes) log.info(facts, 'stream created');
      else
        log.warn({ ...facts, required: required.max_bytes }, 'stream created; JetStream has no room for a larger one');
      return created;
    } catch (error) {
      const less = Math.floor(room * 0.75);
      if (first === undefined || !isNoRoom(error) || less < MIN_BYTES || first.state.bytes > less / 2) throw error;
      const { name } = first.config;
      await jsm.streams.update(name, { max_bytes: less });
      room = less;
      log.warn({ stream: name, maxBytes: less }, `stream shrunk, because there was no storage for ${required.name}`);
    }
  }
}

/**
 * If EVENTS is crowded, deletes its oldest dispatched events: EVENTS keeps them for three days, or as long as storage
 * permits, and never rejects new events because of them. `canPurge`: a purge is one request. Before 2.10.11 it makes a
 * consumer forget unacknowledged messages, so there messages are deleted one by one. Returns the stream afterwards, and
 * whether more messages are to be deleted.
 */
export async function deleteDispatchedEvents(
  jsm: JetStreamManager,
  {
    names,
    info,
    canPurge,
  }: { readonly names: NatsNames['events']; readonly info: StreamInfo; readonly canPurge: boolean },
): Promise<{ readonly info: StreamInfo; readonly hasMore: boolean }> {
  const { config, state } = info;
  if (config.discard !== DiscardPolicy.New || usedShare(info) <= CROWDED) return { info, hasMore: false };
  const { ack_floor: dispatched } = await jsm.consumers.info(names.stream, names.consumer);
  const surplus = Math.ceil(state.messages * (1 - UNCROWDED / usedShare(info)));
  const end = Math.min(dispatched.stream_seq + 1, state.first_seq + surplus);
  if (end <= state.first_seq) return { info, hasMore: false };
  const deletedEnd = canPurge ? end : Math.min(end, state.first_seq + MAX_DELETED);
  if (canPurge) await jsm.streams.purge(names.stream, { seq: end });
  else await deleteOneByOne(jsm, { stream: names.stream, from: state.first_seq, end: deletedEnd });
  const after = await jsm.streams.info(names.stream);
  // An operator can forbid the deletion of messages of a stream.
  return { info: after, hasMore: deletedEnd < end && after.state.first_seq > state.first_seq };
}

async function deleteOneByOne(
  jsm: JetStreamManager,
  { stream, from, end }: { readonly stream: string; readonly from: number; readonly end: number },
): Promise<void> {
  for (let sequence = from; sequence < end; sequence += IN_FLIGHT) {
    const chunk = Array.from({ length: Math.min(IN_FLIGHT, end - sequence) }, (_, index) => sequence + index);
    const deleted = chunk.map(async (one) => {
      try {
        await jsm.streams.deleteMessage(stream, one, false);
      } catch (error) {
        // JetStream answers with an error if another process has deleted the message. Only other errors are thrown.
        if (!(error instanceof NatsError && error.api_error !== undefined)) throw error;
      }
    });
    await Promise.all(deleted);
  }
}

/** The used share of the stream's own limits, from 0 to 1; 0 without limits. */
function usedShare({ config, state }: StreamInfo): number {
  const { max_bytes: maxBytes, max_msgs: maxMessages } = config;
  return Math.max(maxBytes > 0 ? state.bytes / maxBytes : 0, maxMessages > 0 ? state.messages / maxMessages : 0);
}

export function isNearlyFull(info: StreamInfo): boolean {
  return usedShare(info) >= NEARLY_FULL;
}

/** `93 % full (60 of 64 MiB, 1200 messages)`. */
export function describeUse(info: StreamInfo): string {
  const { config, state } = info;
  const inMebibytes = (bytes: number) => Math.round(bytes / MEBIBYTE);
  const limit = config.max_bytes > 0 ? ` of ${inMebibytes(config.max_bytes)}` : '';
  return `${Math.round(usedShare(info) * 100)} % full (${inMebibytes(state.bytes)}${limit} MiB, ${state.messages} messages)`;
}

/** Milliseconds within which the stream must be checked again. */
export function checkWithinMs({ config }: StreamInfo): number {
  return config.max_bytes > 0 ? (config.max_bytes * (1 - CROWDED)) / FAST_BYTES_PER_MS : Number.POSITIVE_INFINITY;
}
