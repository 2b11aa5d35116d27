import { Counter, type Registry } from 'prom-client';

export type SweeperMetrics = { readonly published: Counter; readonly lost: Counter };

export function createSweeperMetrics(metrics: Registry): SweeperMetrics {
  return {
    published: new Counter({
      ...{ registers: [metrics], name: 'webhooks_sweeper_published_total' },
      help: 'Deliveries that waited in Postgres and were published, a retry after a long wait among others',
    }),
    lost: new Counter({
      ...{ registers: [metrics], name: 'webhooks_sweeper_lost_total' },
      help: 'Deliveries that had lost their message, and were found again',
    }),
  };
}
