import type { Consumer, ConsumerInfo, ConsumerMessages, JetStreamClient, JsMsg, Subscription } from 'nats';
import type { Logger } from 'pino';
import { pause, waitAtMost, whenAborted } from '../lib/waiting.ts';
import type { NatsNames } from './names.ts';
import type { Durable } from './streams.ts';

export type ConsumeOptions = {
  readonly durable: Durable;
  /** Maximum number of messages requested ahead of `onMessage`. */
  readonly maxMessages: number;
  /** Called with one message at a time; the next message waits until the call has settled. Must not throw. */
  readonly onMessage: (message: JsMsg) => Promise<void> | void;
  readonly signal: AbortSignal;
};

export type ConsumeSource = {
  /** Undefined while NATS is unavailable. Once its signal aborts, no further message is passed on. */
  readonly current: () => { readonly jetStream: JetStreamClient; readonly signal: AbortSignal } | undefined;
  readonly names: NatsNames;
  readonly log: Logger;
  /** Milliseconds without a message after which JetStream is asked whether messages are pending. */
  readonly quietMs: number;
};

const RETRY_MS = 1_000;
/**
 * Milliseconds after which a pull request ends and is repeated. Until then, nats-server keeps sending messages to a
 * client that has vanished.
 */
const EXPIRES_MS = 10_000;
/**
 * Milliseconds. The client repeats its request when two heartbeats are missing. Servers before 2.10 end a request
 * without a status if a message arrives at the moment it expires; then nothing is delivered until the client repeats
 * the request. This interval also bounds how long a deleted and re-created consumer goes unnoticed.
 */
const HEARTBEAT_MS = 1_000;

/** Milliseconds between the two answers of JetStream that show a stalled subscription. */
const CONFIRM_MS = 1_000;

/** Milliseconds. Maximum wait for messages that nats-server sends before it processes the end of the subscription. */
const DRAIN_MS = 1_000;

/**
 * Passes a consumer's messages to `onMessage` until the signal aborts. Messages that nats-server has sent until then
 * are still passed on, so that the caller can return them at once.
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
      source.log.debug({ err: error, consumer: durable }, 'consuming stopped; retrying');
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
      // Its ack would be lost, too; JetStream redelivers the message.
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
 * Ends the subscription after the messages in transit have arrived. `ConsumerMessages.stop()` would drop them, and
 * JetStream redelivers dropped messages only after the ack wait. The client's types lack the field `sub`.
 */
async function drain(messages: ConsumerMessages): Promise<void> {
  // `as`: a field of the only class that implements this type, in the pinned version of the client.
  const { sub } = messages as ConsumerMessages & { readonly sub?: Subscription };
  // Rejects if the connection is closed; then no message arrives.
  if (sub !== undefined) await waitAtMost(DRAIN_MS, sub.drain()).catch(() => undefined);
  messages.stop();
}

type Watchdog = { busy(): void; idle(): void; end(): void };

/**
 * Restarts a stalled subscription. The client repeats its request when heartbeats are missing, except after some
 * sequences of events (a connection lost during the lookup of the consumer). So after `quietMs` without messages, this
 * asks JetStream whether messages are pending.
 */
function watch(
  { consumer, messages }: { readonly consumer: Consumer; readonly messages: ConsumerMessages },
  { durable, log, quietMs, signal }: Consuming,
): Watchdog {
  let idleSince: number | undefined = performance.now();
  let isOver = false;
  let checking: Promise<void> | undefined;
  const timer = setInterval(() => {
    checking ??= checkPending().finally(() => {
      checking = undefined;
    });
  }, quietMs / 3);

  async function checkPending(): Promise<void> {
    const since = idleSince;
    if (since === undefined || performance.now() - since < quietMs) return;
    const first = await ask();
    if (first === undefined || !isStalled(first)) return;
    // A request may have ended, and the next one be on its way; a message too.
    await pause(CONFIRM_MS, signal);
    const info = await ask();
    if (isOver || info === undefined || !isStalled(info) || idleSince !== since) return;
    log.warn(
      { consumer: durable, pending: info.num_pending, requests: info.num_waiting },
      'consumer received no messages although it should; consuming again',
    );
    messages.stop();
  }

  /** Without an answer there is nothing to do: NatsLink detects a lost connection. */
  async function ask(): Promise<ConsumerInfo | undefined> {
    return consumer.info().catch(() => undefined);
  }

  return {
    busy: () => {
      idleSince = undefined;
    },
    idle: () => {
      idleSince = performance.now();
    },
    end: () => {
      isOver = true;
      clearInterval(timer);
    },
  };
}

/** Whether messages are pending that could be delivered, or no client is waiting for messages. */
function isStalled({
  num_pending: pending,
  num_ack_pending: unacked,
  num_waiting: asking,
  config,
}: ConsumerInfo): boolean {
  const isFull = unacked >= (config.max_ack_pending ?? Number.POSITIVE_INFINITY);
  return asking === 0 || (pending > 0 && !isFull);
}
