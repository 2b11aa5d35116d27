import type { JetStreamManager } from 'nats';
import { Counter, Gauge, type Registry } from 'prom-client';
import { cachedRead } from '../lib/cached-read.ts';
import { perRegistry } from '../lib/metrics.ts';
import type { NatsClient } from './connection.ts';
import type { NatsNames } from './names.ts';
import type { Durable } from './streams.ts';

/** An answer of JetStream is used for this many milliseconds. */
const FRESH_MS = 5_000;
const WAIT_MS = 1_000;

/** Shows whether this process can use NATS. */
export function watchConnection(metrics: Registry, bus: Pick<NatsClient, 'connected' | 'forged'>): void {
  new Gauge({
    registers: [metrics],
    name: 'webhooks_nats_connected',
    aggregator: 'min',
    help: 'Whether this process is connected to NATS and has seen its streams, 0 or 1',
    collect() {
      this.set(bus.connected ? 1 : 0);
    },
  });
  new Counter({
    registers: [metrics],
    name: 'webhooks_nats_forged_messages_total',
    labelNames: ['kind'],
    help: 'Messages that were dropped because none of our processes had made them: in DELIVERIES, or announcements of attempts, senders or readers, or reports of processes',
    collect() {
      this.reset();
      for (const [kind, count] of Object.entries(bus.forged)) this.inc({ kind }, count);
    },
  });
}

/** Shows what the streams hold; what JetStream does not say in time is left out. */
export function watchStreams(
  metrics: Registry,
  bus: Pick<NatsClient, 'connected' | 'withJetStreamManager' | 'names'>,
): void {
  const depths = cachedRead(() => bus.withJetStreamManager((jsm) => readDepths(jsm, bus.names)), {
    waitMs: WAIT_MS,
    freshMs: FRESH_MS,
    staleMs: 0,
  });
  const readNow = async () => (bus.connected ? await depths() : undefined);
  new Gauge({
    registers: [metrics],
    name: 'webhooks_nats_up',
    help: 'Whether JetStream answered within a second when it was last asked, 0 or 1',
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
    help: 'Messages that JetStream has not delivered to any process yet: events for the dispatcher, deliveries for the sender',
  },
  {
    name: 'webhooks_consumer_unacked',
    label: 'consumer',
    field: 'unacked',
    help: 'Messages that are delivered and wait for their ack; for the sender, retries that wait for a short time are among them',
  },
  {
    name: 'webhooks_stream_messages',
    label: 'stream',
    field: 'messages',
    help: 'Messages in a stream; EVENTS keeps them for three days, dispatched or not, as long as it has room',
  },
  { name: 'webhooks_stream_bytes', label: 'stream', field: 'bytes', help: 'What a stream takes on disk' },
  {
    name: 'webhooks_stream_max_bytes',
    label: 'stream',
    field: 'maxBytes',
    help: 'How many bytes a stream may take, after which it refuses messages; -1 without a limit',
  },
];

/** How much a stream holds, and how far its consumer has got. */
type Depth = {
  readonly consumer: Durable;
  readonly stream: string;
  readonly messages: number;
  readonly bytes: number;
  /** Its own limit of `bytes`; -1 if it has none. */
  readonly maxBytes: number;
  /** Not delivered to anybody yet. */
  readonly pending: number;
  /** Delivered, and waiting for their ack. */
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
      help: 'Messages that JetStream has delivered to this process',
    }),
    redelivered: new Counter({
      ...common,
      name: 'webhooks_messages_redelivered_total',
      help: 'Messages among them that had been delivered before, to whatever process; retries after short waits are among them',
    }),
  };
});

/** To be called with each message of the consumer. */
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
