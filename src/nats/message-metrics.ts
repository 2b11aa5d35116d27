import { Counter, type Registry } from 'prom-client';
import { perRegistry } from '../lib/metrics.ts';
import type { Durable } from './streams.ts';

const messageCounts = perRegistry((metrics: Registry) => {
  const common = { registers: [metrics], labelNames: ['consumer'] };
  return {
    received: new Counter({
      ...{ ...common, name: 'webhooks_messages_received_total' },
      help: 'Messages that JetStream has delivered to this process',
    }),
    redelivered: new Counter({
      ...{ ...common, name: 'webhooks_messages_redelivered_total' },
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
