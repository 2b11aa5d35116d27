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
          // Room for several dispatchers, each of which may have 32,000 queued (LOOK_AHEAD).
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

/** A stream of our name with another value of these was made by somebody else, for something else. */
const IDENTITY = ['subjects', 'retention', 'storage'] as const;
/** Settings on which it depends that no message is lost or replaced. */
const COMPARED = ['discard', 'duplicate_window'] as const;
/** A stream without limits discards nothing, whatever its policy. */
const COMPARED_WITHOUT_LIMITS = ['duplicate_window'] as const;

type Name = (typeof IDENTITY | typeof COMPARED)[number];

/** A stream that has our name and is not ours. Nothing may be consumed from it, stored in it or created on it. */
export class ForeignStreamError extends Error {}

/**
 * Throws a ForeignStreamError if this is somebody else's stream. How long it keeps messages, how many, and on how many
 * servers, is the operator's choice.
 */
export function assertOwnStream(wanted: Partial<StreamConfig>, actual: Partial<StreamConfig>): void {
  const differences = compare(IDENTITY, { wanted, actual });
  if (differences.length === 0) return;
  throw new ForeignStreamError(
    `the stream ${wanted.name ?? ''} belongs to somebody else: its ${differences.join('; its ')}. Set another NATS_PREFIX, or remove that stream`,
  );
}

/** The settings of a stream of ours that differ from the definition: `duplicate_window is 120000000000, not 100000000`. */
export function streamProblems(wanted: Partial<StreamConfig>, actual: Partial<StreamConfig>): string[] {
  const isLimited = (actual.max_bytes ?? -1) > 0 || (actual.max_msgs ?? -1) > 0;
  return compare(isLimited ? COMPARED : COMPARED_WITHOUT_LIMITS, { wanted, actual });
}

function compare(
  names: readonly Name[],
  { wanted, actual }: { readonly wanted: Partial<StreamConfig>; readonly actual: Partial<StreamConfig> },
): string[] {
  return names
    .map((name) => ({ name, is: JSON.stringify(actual[name]), not: JSON.stringify(wanted[name]) }))
    .filter(({ is, not }) => is !== not)
    .map(({ name, is, not }) => `${name} is ${is}, not ${not}`);
}

const MEBIBYTE = 1024 * 1024;
/** No stream is created with less room. */
const MIN_BYTES = 4 * MEBIBYTE;
/** DELIVERIES gets at least this share of what EVENTS has. */
const MIN_SHARE = 1 / 8;
/**
 * JetStream cannot reserve that many bytes: for the account, on the server, on any server of the cluster (which says the
 * same when it has too few servers), or for a single stream.
 */
const NO_ROOM = new Set<number | undefined>([10002, 10005, 10023, 10047, 10122]);
/** Above the first share of its room, EVENTS loses dispatched events, until it is down to the second. */
const CROWDED = 0.8;
const UNCROWDED = 0.7;
const NEARLY_FULL = 0.9;
/** Messages deleted one by one in a round (2,000 a second were measured), and at the same time. */
const MAX_DELETED = 4_000;
const IN_FLIGHT = 64;
/** A stream is checked before a fifth of its room is filled at this rate. */
const FAST_BYTES_PER_MS = (4 * MEBIBYTE) / 1_000;

/** Creates a stream with its `max_bytes`, or half of them as often as it takes for JetStream to have the room. */
async function createFitting(jsm: JetStreamManager, wanted: WantedStream, least: number): Promise<StreamInfo> {
  for (let bytes = wanted.max_bytes; ; bytes = Math.floor(bytes / 2)) {
    try {
      return await jsm.streams.add({ ...wanted, max_bytes: bytes });
    } catch (error) {
      if (!isNoRoom(error) || bytes / 2 < least) throw error;
    }
  }
}

function isNoRoom(error: unknown): boolean {
  return error instanceof NatsError && NO_ROOM.has(error.api_error?.err_code);
}

type ToCreate = {
  readonly wanted: WantedStream;
  /** EVENTS, when DELIVERIES is created. */
  readonly first: StreamInfo | undefined;
  readonly log: Logger;
};

/**
 * Creates a stream with as much room as it should have, or as there is. Where EVENTS, which is created first, has taken
 * all of it, EVENTS yields a quarter of its room, as often as that takes, and while it is not half full.
 */
export async function createWithRoom(jsm: JetStreamManager, { wanted, first, log }: ToCreate): Promise<StreamInfo> {
  let room = first?.config.max_bytes ?? 0;
  for (;;) {
    try {
      const created = await createFitting(jsm, wanted, Math.max(MIN_BYTES, room * MIN_SHARE));
      const facts = { stream: wanted.name, maxBytes: created.config.max_bytes };
      if (created.config.max_bytes === wanted.max_bytes) log.info(facts, 'stream created');
      else log.warn({ ...facts, wanted: wanted.max_bytes }, 'stream created; JetStream has no room for a larger one');
      return created;
    } catch (error) {
      const less = Math.floor(room * 0.75);
      if (first === undefined || !isNoRoom(error) || less < MIN_BYTES || first.state.bytes > less / 2) throw error;
      const { name } = first.config;
      await jsm.streams.update(name, { max_bytes: less });
      room = less;
      log.warn(
        { stream: name, maxBytes: less },
        `a stream was made smaller, because there was no room for ${wanted.name}`,
      );
    }
  }
}

/**
 * Deletes the oldest events that have been dispatched when EVENTS is crowded: it keeps them for three days, or as long
 * as there is room, and never refuses new ones because of them. `canPurge`: a purge is one request, but before 2.10.11
 * it makes a consumer forget what it has given out and nobody has acknowledged, so messages are deleted one by one there.
 * Returns the stream as it is then, and whether there is more to delete.
 */
export async function makeRoom(
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
  // An operator can forbid to delete messages of a stream.
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
        // JetStream has an answer for a message that another process has deleted.
        if (!(error instanceof NatsError && error.api_error !== undefined)) throw error;
      }
    });
    await Promise.all(deleted);
  }
}

/** How much of its own limits a stream has used, from 0 to 1; 0 without limits. */
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

/** Within how many milliseconds a stream has to be checked again. */
export function checkWithinMs({ config }: StreamInfo): number {
  return config.max_bytes > 0 ? (config.max_bytes * (1 - CROWDED)) / FAST_BYTES_PER_MS : Number.POSITIVE_INFINITY;
}
