import { Counter, Histogram, type Registry } from 'prom-client';
import { RejectionReason } from '../generated/prisma/enums.ts';
import { perRegistry } from '../lib/metrics.ts';
import type { MatchedEvent } from './writer.ts';

type Written = {
  readonly matched: readonly MatchedEvent[];
  /** Whether the event of this row id had been written before. */
  readonly isKnown: (id: string) => boolean;
};

export type EventMetrics = {
  /** Counts the events of one committed transaction. */
  written(via: Via, events: Written): void;
  /** Observes one batch of the dispatcher after its deliveries are published. */
  dispatched(batch: { readonly events: number; readonly seconds: number }): void;
  dispatchFailed(): void;
  rejected(reason: string): void;
};

type Via = (typeof VIAS)[number];
const VIAS = ['nats', 'graphql'] as const;
const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64];
const DISPATCH_BUCKETS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Shared by the dispatcher and publishEvent. */
export const eventMetrics = perRegistry((metrics: Registry): EventMetrics => {
  const { events, rejected, deliveries } = createEventCounts(metrics);
  const { batch, dispatching, failures } = createBatchCounts(metrics);
  return {
    written: (via, { matched, isKnown }) => {
      const newEvents = matched.filter(({ event }) => !isKnown(event.id));
      events.inc({ via, result: 'new' }, newEvents.length);
      events.inc({ via, result: 'known' }, matched.length - newEvents.length);
      deliveries.inc(
        { via },
        newEvents.reduce((sum, { subscriptions }) => sum + subscriptions.length, 0),
      );
    },
    dispatched: (done) => {
      batch.observe(done.events);
      dispatching.observe(done.seconds);
    },
    dispatchFailed: () => {
      failures.inc();
    },
    rejected: (reason) => {
      rejected.inc({ reason });
    },
  };
});

function createEventCounts(metrics: Registry) {
  const registers = [metrics];
  const events = new Counter({
    registers,
    name: 'webhooks_events_total',
    help: 'Events received, new or with a known id',
    labelNames: ['via', 'result'],
  });
  const deliveries = new Counter({
    registers,
    name: 'webhooks_event_deliveries_total',
    help: 'Deliveries created for new events',
    labelNames: ['via'],
  });
  for (const via of VIAS) {
    events.inc({ via, result: 'new' }, 0);
    events.inc({ via, result: 'known' }, 0);
    deliveries.inc({ via }, 0);
  }
  const rejected = new Counter({
    registers,
    name: 'webhooks_events_rejected_total',
    help: 'Messages in EVENTS that were recorded as rejected events',
    labelNames: ['reason'],
  });
  for (const reason of Object.values(RejectionReason)) rejected.inc({ reason }, 0);
  return { events, rejected, deliveries };
}

function createBatchCounts(metrics: Registry) {
  const registers = [metrics];
  const batch = new Histogram({
    registers,
    name: 'webhooks_dispatch_events',
    help: 'Events in one batch of the dispatcher',
    buckets: BATCH_BUCKETS,
  });
  const dispatching = new Histogram({
    registers,
    name: 'webhooks_dispatch_duration_seconds',
    help: 'Duration of a batch, from reading its messages until its deliveries were published',
    buckets: DISPATCH_BUCKETS,
  });
  const failures = new Counter({
    registers,
    name: 'webhooks_dispatch_failures_total',
    help: 'Batches that failed and were retried or split',
  });
  return { batch, dispatching, failures };
}
