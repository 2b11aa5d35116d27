import {
  type ConsumerConfig,
  type ConsumerInfo,
  type JetStreamManager,
  NatsError,
  RetentionPolicy,
  type StreamInfo,
} from 'nats';
import type { Logger } from 'pino';
import { type NatsNames, natsNames } from './names.ts';
import { describeRefusal } from './refusal.ts';
import {
  assertOwnStream,
  checkWithinMs,
  createWithRoom,
  describeUse,
  isNearlyFull,
  makeRoom,
  type StreamSettings,
  streamProblems,
  type Wanted,
  type WantedConsumer,
  type WantedStream,
  wantedIn,
} from './streams.ts';

type StreamKeeperOptions = {
  readonly log: Logger;
  readonly names?: NatsNames;
  /** Settings of the streams that it creates. */
  readonly settings?: StreamSettings;
  /** Whether it deletes dispatched events when EVENTS is crowded. */
  readonly makesRoom?: boolean;
  /** Milliseconds since 1970. */
  readonly now: () => number;
};

export type StreamCheck = {
  /** Whether a consumer was created: it delivers everything its stream holds, and calls none of it a redelivery. */
  readonly created: boolean;
  /** Names of the streams that have little room left. */
  readonly nearlyFull: ReadonlySet<string>;
  /** A sentence for each of them, which says what to do. */
  readonly warnings: readonly string[];
  /** `max_bytes` of DELIVERIES; undefined if it has no limit. */
  readonly deliveriesMaxBytes: number | undefined;
  /** When to check again: soon if something looks wrong. */
  readonly nextInMs: number;
};

type SeenSymptom = Fault & { readonly since: number };

const INTERVAL_MS = 30_000;
const MIN_INTERVAL_MS = 1_000;
/** Number of checks within a symptom's duration. */
const LOOKS = 6;
/**
 * With any of these a consumer leaves out messages or their data, delivers them again at other times, or refuses to be
 * asked for as many as we ask for. A correction would not remove them, nor bring back what has been left out.
 */
const HARMFUL = [
  ...(['filter_subject', 'filter_subjects', 'headers_only', 'backoff'] as const),
  ...(['max_batch', 'max_bytes', 'max_expires'] as const),
] as const;

/**
 * Keeps streams and consumers as they have to be. A nats-server of before 2.14 that was killed can leave a consumer that
 * would never deliver some of its stream's messages; a consumer created anew delivers them all.
 */
export class StreamReconciler {
  readonly #options: StreamKeeperOptions;
  readonly #names: NatsNames;
  readonly #wanted: Wanted;
  /** By consumer: the symptoms of the last check, and since when they have been there. */
  readonly #seen = new Map<string, readonly SeenSymptom[]>();
  /** Whose configuration has been compared. */
  readonly #compared = new Set<string>();
  /** By stream: what was wrong with it at the last check. */
  readonly #problems = new Map<string, string>();

  constructor(options: StreamKeeperOptions) {
    this.#options = options;
    this.#names = options.names ?? natsNames();
    this.#wanted = wantedIn(this.#names, options.settings);
  }

  /**
   * Creates what is missing, and creates a consumer again that has lost its place. Throws a ForeignStreamError, and has
   * changed nothing, if a stream of our name is somebody else's. `canPurge`: whether the server can be asked to purge.
   */
  async check(jsm: JetStreamManager, { canPurge = false }: { canPurge?: boolean } = {}): Promise<StreamCheck> {
    const before = new Map<WantedStream, StreamInfo | undefined>();
    for (const wanted of this.#wanted.streams) before.set(wanted, await found(jsm.streams.info(wanted.name)));
    for (const [wanted, info] of before) if (info !== undefined) assertOwnStream(wanted, info.config);
    const infos = new Map<string, StreamInfo>();
    for (const [wanted, info] of before) {
      const first = infos.get(this.#names.events.stream);
      infos.set(wanted.name, info ?? (await createWithRoom(jsm, { wanted, first, log: this.#options.log })));
      if (info !== undefined) this.#checkStream(wanted, info);
    }
    let created = false;
    for (const wanted of Object.values(this.#wanted.consumers))
      created = (await this.#checkConsumer(jsm, wanted)) || created;
    const intervals = [...this.#seen.values()].flat().map(({ lastsMs }) => lastsMs / LOOKS);
    const againInMs = this.#options.makesRoom === true ? await this.#makeRoom(jsm, { infos, canPurge }) : INTERVAL_MS;
    const maxBytes = infos.get(this.#names.deliveries.stream)?.config.max_bytes ?? -1;
    return {
      created,
      ...this.#findFull(infos),
      deliveriesMaxBytes: maxBytes > 0 ? maxBytes : undefined,
      nextInMs: Math.min(againInMs, Math.max(MIN_INTERVAL_MS, Math.min(INTERVAL_MS, ...intervals))),
    };
  }

  /** Returns in how many milliseconds EVENTS may be crowded again, or still is. */
  async #makeRoom(
    jsm: JetStreamManager,
    { infos, canPurge }: { readonly infos: Map<string, StreamInfo>; readonly canPurge: boolean },
  ): Promise<number> {
    const { events } = this.#names;
    const before = infos.get(events.stream);
    if (before === undefined) return INTERVAL_MS;
    try {
      const { info, hasMore } = await makeRoom(jsm, { names: events, info: before, canPurge });
      infos.set(events.stream, info);
      return hasMore ? 0 : Math.max(MIN_INTERVAL_MS, checkWithinMs(info));
    } catch (error) {
      // Everything else goes on; the next check tries it again.
      this.#options.log.error(
        { stream: events.stream, reason: describeRefusal(error) },
        'dispatched events could not be deleted',
      );
      return INTERVAL_MS;
    }
  }

  #findFull(infos: ReadonlyMap<string, StreamInfo>): Pick<StreamCheck, 'nearlyFull' | 'warnings'> {
    const full = [...infos].filter(([, info]) => isNearlyFull(info));
    const warnings = full.map(([name, info]) =>
      name === this.#names.events.stream
        ? `the stream ${name} is ${describeUse(info)}; full, it refuses events of publishers until dispatchers have caught up: see what keeps them, or raise its max_bytes`
        : `the stream ${name} is ${describeUse(info)}; full, it refuses deliveries, which then wait in Postgres: see what keeps the senders, or raise its max_bytes`,
    );
    return { nearlyFull: new Set(full.map(([name]) => name)), warnings };
  }

  /** The stream may hold the only copy of an event, so a difference is logged, once, and left to the operator. */
  #checkStream(wanted: WantedStream, info: StreamInfo): void {
    const { log } = this.#options;
    const { name: stream } = wanted;
    const problems = streamProblems(wanted, info.config).join('; ');
    if (problems !== '' && problems !== this.#problems.get(stream)) {
      log.error({ stream, problems }, 'a stream is not configured as it must be; events or deliveries may get lost');
    }
    this.#problems.set(stream, problems);
  }

  /** Returns whether it created the consumer. */
  async #checkConsumer(jsm: JetStreamManager, wanted: WantedConsumer): Promise<boolean> {
    const { log } = this.#options;
    const { stream, config } = wanted;
    const consumer = config.durable_name;
    const look = await lookAt(jsm, wanted);
    if (look !== undefined) {
      const problem =
        this.#problemOf(consumer, look) ?? (await this.#correct(jsm, { wanted, actual: look.after.config }));
      if (problem === undefined) return false;
      const { delivered, ack_floor: ackFloor, num_pending: pending, num_ack_pending: unacked } = look.before;
      const { first_seq: first, last_seq: last, messages } = look.stream.state;
      log.error(
        { stream, consumer, delivered, ackFloor, pending, unacked, first, last, messages },
        `${problem}; re-creating the consumer`,
      );
      await jsm.consumers.delete(stream, consumer);
    }
    await jsm.consumers.add(stream, config);
    this.#seen.delete(consumer);
    this.#compared.add(consumer);
    log.info({ stream, consumer }, 'consumer created');
    return true;
  }

  #problemOf(consumer: string, look: Observation): string | undefined {
    const now = this.#options.now();
    const before = this.#seen.get(consumer) ?? [];
    const symptoms = detectFaults(look).map((symptom) => ({
      ...symptom,
      since: before.find(({ problem, mark }) => problem === symptom.problem && mark === symptom.mark)?.since ?? now,
    }));
    this.#seen.set(consumer, symptoms);
    return symptoms.find(({ since, lastsMs }) => now - since >= lastsMs)?.problem;
  }

  /**
   * Once for each process: what is changed while it runs stays until the next start. Returns what cannot be corrected
   * without creating the consumer again.
   */
  async #correct(
    jsm: JetStreamManager,
    { wanted: { stream, config }, actual }: { readonly wanted: WantedConsumer; readonly actual: ConsumerConfig },
  ): Promise<string | undefined> {
    const consumer = config.durable_name;
    if (this.#compared.has(consumer)) return undefined;
    const harmful = HARMFUL.filter((name) => actual[name] !== undefined);
    if (harmful.length > 0) return `a consumer has ${harmful.join(', ')}`;
    const differences = differencesBetween(config, actual);
    if (differences.ack_policy !== undefined || differences.deliver_policy !== undefined) {
      return 'a consumer is configured in a way that cannot be changed';
    }
    if (Object.keys(differences).length > 0) {
      this.#options.log.warn({ stream, consumer, differences }, 'a consumer was configured otherwise; correcting it');
      const { config: corrected } = await jsm.consumers.update(stream, consumer, config);
      const left = differencesBetween(config, corrected);
      if (Object.keys(left).length > 0) {
        this.#options.log.error({ stream, consumer, differences: left }, 'nats-server configures a consumer otherwise');
      }
    }
    this.#compared.add(consumer);
    return undefined;
  }
}

/** The actual values that differ from the wanted ones. An old server silently accepts settings that it does not know. */
function differencesBetween(wanted: Partial<ConsumerConfig>, actual: ConsumerConfig): Partial<ConsumerConfig> {
  const expected = new Map<string, unknown>(Object.entries(wanted));
  return Object.fromEntries(
    Object.entries(actual).filter(([name, value]) => expected.has(name) && expected.get(name) !== value),
  );
}

async function lookAt(jsm: JetStreamManager, { stream, config }: WantedConsumer): Promise<Observation | undefined> {
  const before = await found(jsm.consumers.info(stream, config.durable_name));
  if (before === undefined) return undefined;
  const info = await jsm.streams.info(stream);
  return { before, stream: info, after: await jsm.consumers.info(stream, config.durable_name) };
}

async function found<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.code === 404) return undefined;
    throw error;
  }
}

/** A stream, and its consumer before and after it: while messages come and go, no two of their answers fit together. */
type Observation = { readonly before: ConsumerInfo; readonly stream: StreamInfo; readonly after: ConsumerInfo };

/** A symptom counts only if it persists, with the same `mark`, for `lastsMs`. */
type Fault = { readonly problem: string; readonly mark: string; readonly lastsMs: number };

/** Acknowledged messages may take a moment to leave the stream. */
const PASSED_MS = 3_000;
const IMBALANCE_MS = 60_000;
/** Three times the sender's ack wait, and longer than any delay that a message is handed back with. */
const STALLED_MS = 180_000;

/** Symptoms that a crash of nats-server before 2.14 leaves behind: docs/nats-server.md has each, with its source. */
export function detectFaults(look: Observation): Fault[] {
  return [pastTheEnd(look), consumerSkippedMessages(look), imbalance(look), stalled(look)].filter(
    (symptom) => symptom !== undefined,
  );
}

/** The stream lost its end, and hands out sequence numbers again that its consumer will not look at. */
function pastTheEnd({ before, stream }: Observation): Fault | undefined {
  return before.delivered.stream_seq > stream.state.last_seq
    ? { problem: 'a consumer stands past the end of its stream', mark: '', lastsMs: 0 }
    : undefined;
}

/** The same, noticed after the stream has grown again. */
function consumerSkippedMessages({ before, stream: { config, state } }: Observation): Fault | undefined {
  return config.retention === RetentionPolicy.Workqueue &&
    state.messages > 0 &&
    state.first_seq <= before.ack_floor.stream_seq
    ? {
        problem: 'a consumer has passed messages that were never acked',
        mark: `${state.first_seq}`,
        lastsMs: PASSED_MS,
      }
    : undefined;
}

/** Each message of a work queue is either to be delivered or to be acked. */
function imbalance({ before, stream: { config, state }, after }: Observation): Fault | undefined {
  if (config.retention !== RetentionPolicy.Workqueue) return undefined;
  const unaccounted = [before, after].map((info) => state.messages - info.num_pending - info.num_ack_pending);
  if (Math.min(...unaccounted) > 0) {
    return { problem: 'a consumer leaves out messages of its stream', mark: 'left out', lastsMs: IMBALANCE_MS };
  }
  if (Math.max(...unaccounted) < 0) {
    return { problem: 'a consumer waits for acks of messages that are gone', mark: 'gone', lastsMs: IMBALANCE_MS };
  }
  return undefined;
}

/** Somebody asks for messages, and what is not acked is neither acked nor delivered again. */
function stalled({ before }: Observation): Fault | undefined {
  const { delivered, ack_floor: ackFloor, num_ack_pending: unacked, num_waiting: asking } = before;
  return unacked > 0 && asking > 0
    ? {
        problem: 'a consumer does not deliver again what was not acked',
        mark: [delivered.consumer_seq, ackFloor.consumer_seq, unacked].join(),
        lastsMs: STALLED_MS,
      }
    : undefined;
}
