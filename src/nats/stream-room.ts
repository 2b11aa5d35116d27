import { DiscardPolicy, type JetStreamManager, NatsError, type StreamInfo } from 'nats';
import type { Logger } from 'pino';
import type { NatsNames } from './nats-names.ts';
import type { WantedStream } from './streams.ts';

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
 * all of it, EVENTS gives up a quarter of its room, as often as that takes, and while it is not half full.
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
