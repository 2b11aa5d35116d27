import { Counter, Histogram, type Registry } from 'prom-client';
import { RejectionReason } from '../generated/prisma/enums.ts';
import { perRegistry } from '../lib/metrics.ts';
import type { MatchedEvent } from './writer.ts';

type Written = {
  readonly matched: readonly MatchedEvent[];
  /** Whether the event of this row id had been written before, by somebody else. */
  readonly isKnown: (id: string) => boolean;
};

export type EventMetrics = {
  /** Of one transaction, when it is committed. */
  written(via: Via, events: Written): void;
  /** Of one batch of the dispatcher, when it is committed and its deliveries are published. */
  dispatched(batch: { readonly events: number; readonly seconds: number }): void;
  dispatchFailed(): void;
  rejected(reason: string): void;
};

type Via = (typeof VIAS)[number];
const VIAS = ['nats', 'graphql'] as const;
const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64];
const DISPATCH_BUCKETS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** The dispatcher and publishEvent count in the same ones. */
export const eventMetrics = perRegistry((metrics: Registry): EventMetrics => {
  const { events, rejected, deliveries } = createEventCounts(metrics);
  const { batch, dispatching, failures } = createBatchCounts(metrics);
  return {
    written: (via, { matched, isKnown }) => {
      const fresh = matched.filter(({ event }) => !isKnown(event.id));
      events.inc({ via, result: 'new' }, fresh.length);
      events.inc({ via, result: 'known' }, matched.length - fresh.length);
      deliveries.inc(
        { via },
        fresh.reduce((sum, { subscriptions }) => sum + subscriptions.length, 0),
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
    ...{ registers, name: 'webhooks_events_total', labelNames: ['via', 'result'] },
    help: 'Events taken in: new ones, and those whose id was known',
  });
  const deliveries = new Counter({
    ...{ registers, name: 'webhooks_event_deliveries_total', labelNames: ['via'] },
    help: 'Deliveries made of new events',
  });
  for (const via of VIAS) {
    events.inc({ via, result: 'new' }, 0);
    events.inc({ via, result: 'known' }, 0);
    deliveries.inc({ via }, 0);
  }
  const rejected = new Counter({
    ...{ registers, name: 'webhooks_events_rejected_total', labelNames: ['reason'] },
    help: 'Messages in EVENTS that are no events and were recorded as rejected',
  });
  for (const reason of Object.values(RejectionReason)) rejected.inc({ reason }, 0);
  return { events, rejected, deliveries };
}

function createBatchCounts(metrics: Registry) {
  const registers = [metrics];
  const batch = new Histogram({
    ...{ registers, name: 'webhooks_dispatch_events', buckets: BATCH_BUCKETS },
    help: 'Messages of EVENTS in one batch of the dispatcher',
  });
  const dispatching = new Histogram({
    ...{ registers, name: 'webhooks_dispatch_duration_seconds', buckets: DISPATCH_BUCKETS },
    help: 'How long a batch took, from reading its messages until its deliveries were published',
  });
  const failures = new Counter({
    ...{ registers, name: 'webhooks_dispatch_failures_total' },
    help: 'Batches that failed, and were tried again or split',
  });
  return { batch, dispatching, failures };
}
