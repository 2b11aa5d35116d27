import { Counter, Gauge, type Registry } from 'prom-client';
import { createSnapshot } from '../lib/cached-read.ts';
import { type Depth, readDepths } from './depths.ts';
import type { EventBus } from './event-bus.ts';

/** What JetStream says is not asked for again before then. */
const FRESH_MS = 5_000;
const WAIT_MS = 1_000;

/** Shows whether NATS can be used, and what waits in it; what it does not say in time is left out. */
export function watchNats(metrics: Registry, bus: Pick<EventBus, 'connected' | 'inspect' | 'names' | 'forged'>): void {
  const depths = createSnapshot(() => bus.inspect((jsm) => readDepths(jsm, bus.names)), {
    waitMs: WAIT_MS,
    freshMs: FRESH_MS,
    staleMs: 0,
  });
  const readNow = async () => (bus.connected ? await depths() : undefined);
  new Gauge({
    ...{ registers: [metrics], name: 'webhooks_nats_connected' },
    help: 'Whether this process is connected to NATS and has seen its streams, 0 or 1',
    collect() {
      this.set(bus.connected ? 1 : 0);
    },
  });
  new Gauge({
    ...{ registers: [metrics], name: 'webhooks_nats_up' },
    help: 'Whether JetStream answered within a second when it was last asked, 0 or 1',
    async collect() {
      this.set((await readNow()) === undefined ? 0 : 1);
    },
  });
  new Counter({
    ...{ registers: [metrics], name: 'webhooks_nats_forged_messages_total', labelNames: ['kind'] },
    help: 'Messages that were dropped because none of our processes had made them: in DELIVERIES, or announcements of attempts',
    collect() {
      this.reset();
      for (const [kind, count] of Object.entries(bus.forged)) this.inc({ kind }, count);
    },
  });
  for (const { name, help, label, field } of DEPTHS) {
    new Gauge({
      ...{ registers: [metrics], name, help, labelNames: [label] },
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
    ...{ name: 'webhooks_consumer_pending', label: 'consumer', field: 'pending' },
    help: 'Messages that JetStream has not delivered to any process yet: events for the dispatcher, deliveries for the sender',
  },
  {
    ...{ name: 'webhooks_consumer_unacked', label: 'consumer', field: 'unacked' },
    help: 'Messages that are delivered and wait for their ack; for the sender, retries that wait for a short time are among them',
  },
  {
    ...{ name: 'webhooks_stream_messages', label: 'stream', field: 'messages' },
    help: 'Messages in a stream; EVENTS keeps them for three days, dispatched or not, as long as it has room',
  },
  { ...{ name: 'webhooks_stream_bytes', label: 'stream', field: 'bytes' }, help: 'What a stream takes on disk' },
  {
    ...{ name: 'webhooks_stream_max_bytes', label: 'stream', field: 'maxBytes' },
    help: 'How many bytes a stream may take, after which it refuses messages; -1 without a limit',
  },
];
