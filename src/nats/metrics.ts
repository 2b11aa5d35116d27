import type { JetStreamManager } from 'nats';
import { Counter, Gauge, type Registry } from 'prom-client';
import { cachedRead } from '../lib/cached-read.ts';
import { perRegistry } from '../lib/metrics.ts';
import type { NatsClient } from './connection.ts';
import type { NatsNames } from './names.ts';
import type { Durable } from './streams.ts';

/** Milliseconds for which an answer of JetStream is reused. */
const FRESH_MS = 5_000;
const WAIT_MS = 1_000;

/** Registers metrics of this process's connection to NATS. */
export function registerConnectionMetrics(metrics: Registry, nats: Pick<NatsClient, 'connected' | 'forged'>): void {
  new Gauge({
    registers: [metrics],
    name: 'webhooks_nats_connected',
    aggregator: 'min',
    help: 'Whether this process is connected to NATS and has checked its streams, 0 or 1',
    collect() {
      this.set(nats.connected ? 1 : 0);
    },
  });
  new Counter({
    registers: [metrics],
    name: 'webhooks_nats_forged_messages_total',
    labelNames: ['kind'],
    help: 'Messages dropped because no process of this installation sealed them: in DELIVERIES, or announcements of attempts, senders or readers, or reports of processes',
    collect() {
      this.reset();
      for (const [kind, count] of Object.entries(nats.forged)) this.inc({ kind }, count);
    },
  });
}

/** Registers metrics of the streams. Values that JetStream does not return in time are omitted. */
export function registerStreamMetrics(
  metrics: Registry,
  nats: Pick<NatsClient, 'connected' | 'withJetStreamManager' | 'names'>,
): void {
  const depths = cachedRead(() => nats.withJetStreamManager((jsm) => readDepths(jsm, nats.names)), {
    waitMs: WAIT_MS,
    freshMs: FRESH_MS,
    staleMs: 0,
  });
  const readNow = async () => (nats.connected ? await depths() : undefined);
  new Gauge({
    registers: [metrics],
    name: 'webhooks_nats_up',
    help: 'Whether JetStream answered the last request within a second, 0 or 1',
    async collect() {
      this.set((await readNow()) === undefined ? 0 : 1);
    },
  });
  for (const { name, help, label, field } of DEPTHS) {
    new Gauge({
      registers: [metrics],
      name,
      help,
      labelNames: [label],
      async collect() {
        this.reset();
        for (const depth of (await readNow()) ?? []) this.set({ [label]: depth[label] }, depth[field]);
      },
    });
  }
}

type Shown = {
  readonly name: string;
  readonly help: string;
  readonly label: 'consumer' | 'stream';
  readonly field: Exclude<keyof Depth, 'consumer' | 'stream'>;
};

const DEPTHS: readonly Shown[] = [
  {
    name: 'webhooks_consumer_pending',
    label: 'consumer',
    field: 'pending',
    help: 'Messages not yet delivered to any process: events for the dispatcher, deliveries for the sender',
  },
  {
    name: 'webhooks_consumer_unacked',
    label: 'consumer',
    field: 'unacked',
    help: 'Messages delivered but not yet acknowledged; for the sender, this includes retries with a short delay',
  },
  {
    name: 'webhooks_stream_messages',
    label: 'stream',
    field: 'messages',
    help: 'Messages in a stream; EVENTS keeps them for three days, dispatched or not, if it has enough storage',
  },
  { name: 'webhooks_stream_bytes', label: 'stream', field: 'bytes', help: 'Bytes of a stream on disk' },
  {
    name: 'webhooks_stream_max_bytes',
    label: 'stream',
    field: 'maxBytes',
    help: 'Maximum bytes of a stream, above which it rejects messages; -1 without a limit',
  },
];

/** The size of a stream and the state of its consumer. */
type Depth = {
  readonly consumer: Durable;
  readonly stream: string;
  readonly messages: number;
  readonly bytes: number;
  /** The stream's limit of `bytes`; -1 if it has none. */
  readonly maxBytes: number;
  /** Messages not yet delivered to any process. */
  readonly pending: number;
  /** Messages delivered but not yet acknowledged. */
  readonly unacked: number;
};

async function readDepths(jsm: JetStreamManager, { events, deliveries }: NatsNames): Promise<Depth[]> {
  const places: [Durable, NatsNames['events']][] = [
    ['dispatcher', events],
    ['sender', deliveries],
  ];
  return Promise.all(
    places.map(async ([consumer, { stream, consumer: name }]) => {
      const [{ state, config }, info] = await Promise.all([jsm.streams.info(stream), jsm.consumers.info(stream, name)]);
      const { num_pending: pending, num_ack_pending: unacked } = info;
      return {
        consumer,
        stream,
        messages: state.messages,
        bytes: state.bytes,
        maxBytes: config.max_bytes,
        pending,
        unacked,
      };
    }),
  );
}

const messageCounts = perRegistry((metrics: Registry) => {
  const common = { registers: [metrics], labelNames: ['consumer'] };
  return {
    received: new Counter({
      ...common,
      name: 'webhooks_messages_received_total',
      help: 'Messages that JetStream delivered to this process',
    }),
    redelivered: new Counter({
      ...common,
      name: 'webhooks_messages_redelivered_total',
      help: 'Messages among them that JetStream had delivered before, to any process; this includes retries after a short delay',
    }),
  };
});

/** Returns a function to call with each message of the consumer. */
export function createMessageCount(
  metrics: Registry,
  consumer: Durable,
): (message: { readonly redelivered: boolean }) => void {
  const { received, redelivered } = messageCounts(metrics);
  const labels = { consumer };
  received.inc(labels, 0);
  redelivered.inc(labels, 0);
  return (message) => {
    received.inc(labels);
    if (message.redelivered) redelivered.inc(labels);
  };
}
