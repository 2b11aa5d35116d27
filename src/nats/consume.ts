import type { Consumer, ConsumerInfo, ConsumerMessages, JetStreamClient, JsMsg, Subscription } from 'nats';
import type { Logger } from 'pino';
import { atMost, pause, whenAborted } from '../lib/loop.ts';
import type { NatsNames } from './names.ts';
import type { Durable } from './streams.ts';

export type ConsumeOptions = {
  readonly durable: Durable;
  /** At most so many messages are asked for ahead of being handled. */
  readonly maxMessages: number;
  /** Called one message at a time; the next one waits until it has settled. Must not throw. */
  readonly onMessage: (message: JsMsg) => Promise<void> | void;
  readonly signal: AbortSignal;
};

export type ConsumeSource = {
  /** Undefined while NATS is unavailable. Once the signal aborts, no further message is handed over. */
  readonly current: () => { readonly jetStream: JetStreamClient; readonly signal: AbortSignal } | undefined;
  readonly names: NatsNames;
  readonly log: Logger;
  /** How long nothing may come before JetStream is asked whether something should have. */
  readonly quietMs: number;
};

const RETRY_MS = 1_000;
/** After which a pull request ends and is repeated. A client that vanished is sent messages until then. */
const EXPIRES_MS = 10_000;
/**
 * The client repeats its request when two heartbeats are missing. Servers before 2.10 end a request without a status if a
 * message arrives in the moment in which it expires: then nothing is delivered until that repetition. It also bounds how
 * long a deleted and re-created consumer goes unnoticed.
 */
const HEARTBEAT_MS = 1_000;

/** Limit of the wait for messages that nats-server sends before it has processed the end of the subscription. */
const DRAIN_MS = 1_000;

/**
 * Hands over a consumer's messages until the signal aborts. Messages that nats-server has sent until then are still
 * handed over, so that they can be returned at once.
 */
export async function consume(source: ConsumeSource, options: ConsumeOptions): Promise<void> {
  const { signal, durable } = options;
  while (!signal.aborted) {
    try {
      const current = source.current();
      if (current === undefined) throw new Error('NATS is not connected');
      const { stream, consumer } = durable === 'dispatcher' ? source.names.events : source.names.deliveries;
      const found = await current.jetStream.consumers.get(stream, consumer);
      await consumeOnce(found, { ...source, ...options, lost: current.signal });
    } catch (error) {
      source.log.debug({ err: error, consumer: durable }, 'not consuming');
    }
    await pause(RETRY_MS, signal);
  }
}

type Consuming = Omit<ConsumeSource, 'current'> & ConsumeOptions & { readonly lost: AbortSignal };

async function consumeOnce(consumer: Consumer, options: Consuming): Promise<void> {
  const { maxMessages, onMessage, signal, lost } = options;
  const messages = await consumer.consume({
    max_messages: maxMessages,
    expires: EXPIRES_MS,
    idle_heartbeat: HEARTBEAT_MS,
  });
  const stop = () => {
    messages.stop();
  };
  const forgets = [whenAborted(signal, () => void drain(messages)), whenAborted(lost, stop)];
  const watchdog = watch({ consumer, messages }, options);
  try {
    for await (const message of messages) {
      // Its ack would be lost as well: it is redelivered.
      if (lost.aborted) break;
      watchdog.busy();
      await onMessage(message);
      watchdog.idle();
    }
  } finally {
    watchdog.end();
    for (const forget of forgets) forget();
  }
}

/**
 * Ends the subscription when the messages on their way have arrived. `ConsumerMessages.stop()` drops them, and JetStream
 * redelivers dropped messages only after the ack wait. Its subscription is missing in the types of the client.
 */
async function drain(messages: ConsumerMessages): Promise<void> {
  // `as`: a field of the only class that implements this type, in the pinned version of the client.
  const { sub } = messages as ConsumerMessages & { readonly sub?: Subscription };
  // Rejects if the connection is closed: nothing arrives then.
  if (sub !== undefined) await atMost(DRAIN_MS, sub.drain()).catch(() => undefined);
  messages.stop();
}

type Watchdog = { busy(): void; idle(): void; end(): void };

/**
 * The client asks for messages again when heartbeats fail to come, but there are turns of events (a connection lost
 * while it looks for its consumer) after which it does not. So when nothing comes for long, JetStream is asked.
 */
function watch(
  { consumer, messages }: { readonly consumer: Consumer; readonly messages: ConsumerMessages },
  { durable, log, quietMs }: Consuming,
): Watchdog {
  let idleSince: number | undefined = performance.now();
  const timer = setInterval(() => void look(), quietMs / 3);

  async function look(): Promise<void> {
    const since = idleSince;
    if (since === undefined || performance.now() - since < quietMs) return;
    // Without an answer there is nothing to do: a connection that is gone is noticed elsewhere.
    const info = await consumer.info().catch(() => undefined);
    if (info === undefined || !isForgotten(info) || idleSince !== since) return;
    log.warn({ consumer: durable, pending: info.num_pending }, 'a consumer went quiet; consuming anew');
    messages.stop();
  }

  return {
    busy: () => {
      idleSince = undefined;
    },
    idle: () => {
      idleSince = performance.now();
    },
    end: () => {
      clearInterval(timer);
    },
  };
}

/** Whether something could have been delivered to who waits, or nobody is known to wait. */
function isForgotten({
  num_pending: pending,
  num_ack_pending: unacked,
  num_waiting: asking,
  config,
}: ConsumerInfo): boolean {
  const isFull = unacked >= (config.max_ack_pending ?? Number.POSITIVE_INFINITY);
  return asking === 0 || (pending > 0 && !isFull);
}
