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
  createStream,
  deleteDispatchedEvents,
  describeUse,
  isNearlyFull,
  type RequiredConsumer,
  type RequiredSetup,
  type RequiredStream,
  requiredSetup,
  type StreamSettings,
  streamProblems,
} from './streams.ts';

type StreamReconcilerOptions = {
  readonly log: Logger;
  readonly names?: NatsNames;
  /** Settings of the streams that the reconciler creates. */
  readonly settings?: StreamSettings;
  /** Whether the reconciler deletes dispatched events when EVENTS is crowded. */
  readonly deletesDispatchedEvents?: boolean;
  /** A clock in milliseconds that is never set back. */
  readonly now: () => number;
};

export type StreamCheck = {
  /** Whether a consumer was created. It delivers all messages of its stream, none of them marked as redelivered. */
  readonly created: boolean;
  /** Names of the streams that are nearly full. */
  readonly nearlyFull: ReadonlySet<string>;
  /** One sentence per nearly full stream, which says what to do. */
  readonly warnings: readonly string[];
  /** `max_bytes` of DELIVERIES; undefined if it has no limit. */
  readonly deliveriesMaxBytes: number | undefined;
  /** Milliseconds until the next check: shorter while a fault is observed. */
  readonly nextInMs: number;
};

type SeenFault = Fault & { readonly since: number };

const INTERVAL_MS = 30_000;
const MIN_INTERVAL_MS = 1_000;
/** Number of checks within a fault's duration. */
const CHECKS_PER_DURATION = 6;
/**
 * With any of these settings a consumer skips messages or their data, redelivers them at other times, or limits pull
 * requests below the engine's. An update cannot unset them, nor deliver skipped messages.
 */
const HARMFUL = [
  ...(['filter_subject', 'filter_subjects', 'headers_only', 'backoff'] as const),
  ...(['max_batch', 'max_bytes', 'max_expires'] as const),
] as const;

/**
 * Creates and repairs streams and consumers. A killed nats-server before 2.14 can leave a consumer that never delivers
 * some messages of its stream; a new consumer delivers them all.
 */
export class StreamReconciler {
  readonly #options: StreamReconcilerOptions;
  readonly #names: NatsNames;
  readonly #required: RequiredSetup;
  /** The faults of the last check by consumer, and since when each has persisted. */
  readonly #seen = new Map<string, readonly SeenFault[]>();
  /** The consumers whose configuration has been compared. */
  readonly #compared = new Set<string>();
  /** The configuration problems of the last check by stream. */
  readonly #problems = new Map<string, string>();

  constructor(options: StreamReconcilerOptions) {
    this.#options = options;
    this.#names = options.names ?? natsNames();
    this.#required = requiredSetup(this.#names, options.settings);
  }

  /**
   * Creates missing streams and consumers, and re-creates consumers with a persistent fault. If a stream of this name
   * is foreign, throws a ForeignStreamError without changing anything. `canPurge`: whether the server can purge safely.
   */
  async check(jsm: JetStreamManager, { canPurge = false }: { canPurge?: boolean } = {}): Promise<StreamCheck> {
    const before = new Map<RequiredStream, StreamInfo | undefined>();
    for (const required of this.#required.streams) before.set(required, await found(jsm.streams.info(required.name)));
    for (const [required, info] of before) if (info !== undefined) assertOwnStream(required, info.config);
    const infos = new Map<string, StreamInfo>();
    for (const [required, info] of before) {
      const first = infos.get(this.#names.events.stream);
      infos.set(required.name, info ?? (await createStream(jsm, { required, first, log: this.#options.log })));
      if (info !== undefined) this.#checkStream(required, info);
    }
    let created = false;
    for (const required of Object.values(this.#required.consumers))
      created = (await this.#checkConsumer(jsm, required)) || created;
    const intervals = [...this.#seen.values()].flat().map(({ mustPersistMs }) => mustPersistMs / CHECKS_PER_DURATION);
    const againInMs =
      this.#options.deletesDispatchedEvents === true
        ? await this.#deleteDispatchedEvents(jsm, { infos, canPurge })
        : INTERVAL_MS;
    const maxBytes = infos.get(this.#names.deliveries.stream)?.config.max_bytes ?? -1;
    return {
      created,
      ...this.#findFull(infos),
      deliveriesMaxBytes: maxBytes > 0 ? maxBytes : undefined,
      nextInMs: Math.min(againInMs, Math.max(MIN_INTERVAL_MS, Math.min(INTERVAL_MS, ...intervals))),
    };
  }

  /**
   * Deletes dispatched events if EVENTS is crowded. Returns the milliseconds after which EVENTS may be crowded again; 0
   * if it still is.
   */
  async #deleteDispatchedEvents(
    jsm: JetStreamManager,
    { infos, canPurge }: { readonly infos: Map<string, StreamInfo>; readonly canPurge: boolean },
  ): Promise<number> {
    const { events } = this.#names;
    const before = infos.get(events.stream);
    if (before === undefined) return INTERVAL_MS;
    try {
      const { info, hasMore } = await deleteDispatchedEvents(jsm, { names: events, info: before, canPurge });
      infos.set(events.stream, info);
      return hasMore ? 0 : Math.max(MIN_INTERVAL_MS, checkWithinMs(info));
    } catch (error) {
      // The other checks continue; the next check retries the deletion.
      this.#options.log.error(
        { stream: events.stream, reason: describeRefusal(error) },
        'deleting dispatched events failed',
      );
      return INTERVAL_MS;
    }
  }

  #findFull(infos: ReadonlyMap<string, StreamInfo>): Pick<StreamCheck, 'nearlyFull' | 'warnings'> {
    const full = [...infos].filter(([, info]) => isNearlyFull(info));
    const warnings = full.map(([name, info]) =>
      name === this.#names.events.stream
        ? `the stream ${name} is ${describeUse(info)}; when full, it rejects events of publishers until the dispatchers have caught up: check the dispatchers, or raise its max_bytes`
        : `the stream ${name} is ${describeUse(info)}; when full, it rejects deliveries, which then wait in Postgres: check the senders, or raise its max_bytes`,
    );
    return { nearlyFull: new Set(full.map(([name]) => name)), warnings };
  }

  /** The stream may hold the only copy of an event, so a difference is only logged, once, for the operator. */
  #checkStream(required: RequiredStream, info: StreamInfo): void {
    const { log } = this.#options;
    const { name: stream } = required;
    const problems = streamProblems(required, info.config).join('; ');
    if (problems !== '' && problems !== this.#problems.get(stream)) {
      log.error({ stream, problems }, 'stream has a wrong configuration; events or deliveries may be lost');
    }
    this.#problems.set(stream, problems);
  }

  /** Checks the consumer and creates it if necessary. Returns whether it did. */
  async #checkConsumer(jsm: JetStreamManager, required: RequiredConsumer): Promise<boolean> {
    const { log } = this.#options;
    const { stream, config } = required;
    const consumer = config.durable_name;
    const observation = await observe(jsm, required);
    if (observation !== undefined) {
      const problem =
        this.#problemOf(consumer, observation) ??
        (await this.#correct(jsm, { required, actual: observation.after.config }));
      if (problem === undefined) return false;
      const { delivered, ack_floor: ackFloor, num_pending: pending, num_ack_pending: unacked } = observation.before;
      const { first_seq: first, last_seq: last, messages } = observation.stream.state;
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

  #problemOf(consumer: string, observation: Observation): string | undefined {
    const now = this.#options.now();
    const before = this.#seen.get(consumer) ?? [];
    const faults = detectFaults(observation).map((fault) => ({
      ...fault,
      since:
        before.find(({ problem, fingerprint }) => problem === fault.problem && fingerprint === fault.fingerprint)
          ?.since ?? now,
    }));
    this.#seen.set(consumer, faults);
    return faults.find(({ since, mustPersistMs }) => now - since >= mustPersistMs)?.problem;
  }

  /**
   * Corrects the consumer's settings once per process: an operator's later changes remain until the next start. Returns
   * a problem that only re-creating the consumer can solve.
   */
  async #correct(
    jsm: JetStreamManager,
    { required: { stream, config }, actual }: { readonly required: RequiredConsumer; readonly actual: ConsumerConfig },
  ): Promise<string | undefined> {
    const consumer = config.durable_name;
    if (this.#compared.has(consumer)) return undefined;
    const harmful = HARMFUL.filter((name) => actual[name] !== undefined);
    if (harmful.length > 0) return `consumer has ${harmful.join(', ')}`;
    const differences = differencesBetween(config, actual);
    if (differences.ack_policy !== undefined || differences.deliver_policy !== undefined) {
      return 'consumer has settings that cannot be changed';
    }
    if (Object.keys(differences).length > 0) {
      this.#options.log.warn({ stream, consumer, differences }, 'consumer has wrong settings; correcting them');
      const { config: corrected } = await jsm.consumers.update(stream, consumer, config);
      const left = differencesBetween(config, corrected);
      if (Object.keys(left).length > 0) {
        this.#options.log.error(
          { stream, consumer, differences: left },
          'nats-server did not accept settings of a consumer',
        );
      }
    }
    this.#compared.add(consumer);
    return undefined;
  }
}

/** The actual values that differ from the required ones. An old server silently ignores settings that it does not know. */
function differencesBetween(required: Partial<ConsumerConfig>, actual: ConsumerConfig): Partial<ConsumerConfig> {
  const expected = new Map<string, unknown>(Object.entries(required));
  return Object.fromEntries(
    Object.entries(actual).filter(([name, value]) => expected.has(name) && expected.get(name) !== value),
  );
}

async function observe(jsm: JetStreamManager, { stream, config }: RequiredConsumer): Promise<Observation | undefined> {
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

/**
 * A stream, and its consumer before and after it. While messages arrive and are acknowledged, no two of these answers
 * are consistent.
 */
type Observation = { readonly before: ConsumerInfo; readonly stream: StreamInfo; readonly after: ConsumerInfo };

/** A fault counts only if it persists, with the same fingerprint, for `mustPersistMs`. */
type Fault = { readonly problem: string; readonly fingerprint: string; readonly mustPersistMs: number };

/** Milliseconds. Acknowledged messages may leave the stream with a delay. */
const PASSED_MS = 3_000;
const IMBALANCE_MS = 60_000;
/**
 * Milliseconds, longer than any delay of a nak. For deliveries it is three times the sender's ack wait; an event that Postgres
 * refuses waits up to an hour (events/refused-event.ts).
 */
const STALLED_MS = { deliveries: 180_000, events: 2 * 3_600_000 };

/**
 * Detects faults that a crash of nats-server before 2.14 leaves behind: docs/nats-server.md lists them with their
 * sources.
 */
export function detectFaults(observation: Observation): Fault[] {
  return [
    pastTheEnd(observation),
    consumerSkippedMessages(observation),
    imbalance(observation),
    stalled(observation),
  ].filter((fault) => fault !== undefined);
}

/** The stream lost its end and reuses sequence numbers, which its consumer will skip. */
function pastTheEnd({ before, stream }: Observation): Fault | undefined {
  return before.delivered.stream_seq > stream.state.last_seq
    ? { problem: 'consumer is past the end of its stream', fingerprint: '', mustPersistMs: 0 }
    : undefined;
}

/** Detects the same fault after the stream has grown again. */
function consumerSkippedMessages({ before, stream: { config, state } }: Observation): Fault | undefined {
  return config.retention === RetentionPolicy.Workqueue &&
    state.messages > 0 &&
    state.first_seq <= before.ack_floor.stream_seq
    ? {
        problem: 'consumer has passed messages that were never acknowledged',
        fingerprint: `${state.first_seq}`,
        mustPersistMs: PASSED_MS,
      }
    : undefined;
}

/** Each message of a work queue is either pending or waiting for its acknowledgement. */
function imbalance({ before, stream: { config, state }, after }: Observation): Fault | undefined {
  if (config.retention !== RetentionPolicy.Workqueue) return undefined;
  const unaccounted = [before, after].map((info) => state.messages - info.num_pending - info.num_ack_pending);
  if (Math.min(...unaccounted) > 0) {
    return { problem: 'consumer skips messages of its stream', fingerprint: 'left out', mustPersistMs: IMBALANCE_MS };
  }
  if (Math.max(...unaccounted) < 0) {
    return {
      problem: 'consumer waits for acknowledgements of messages that no longer exist',
      fingerprint: 'gone',
      mustPersistMs: IMBALANCE_MS,
    };
  }
  return undefined;
}

/** A client requests messages, and unacknowledged messages are neither acknowledged nor redelivered. */
function stalled({ before, stream: { config } }: Observation): Fault | undefined {
  const { delivered, ack_floor: ackFloor, num_ack_pending: unacked, num_waiting: asking } = before;
  return unacked > 0 && asking > 0
    ? {
        problem: 'consumer does not redeliver unacknowledged messages',
        fingerprint: [delivered.consumer_seq, ackFloor.consumer_seq, unacked].join(),
        mustPersistMs: config.retention === RetentionPolicy.Workqueue ? STALLED_MS.deliveries : STALLED_MS.events,
      }
    : undefined;
}
