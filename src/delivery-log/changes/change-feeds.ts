import type { Logger } from 'pino';
import type {
  Delivery,
  Erasure,
  Event,
  RejectedEvent,
  Replay,
  WebhookSubscription,
} from '../../generated/prisma/client.ts';
import { idRange } from '../../lib/uuid7.ts';
import type { Database } from '../../postgres/client.ts';
import type { FairReads } from '../fair-reads.ts';
import { ChangeFeed, type LoadRows } from './change-feed.ts';

/** An event without its data, which can be a megabyte. */
export type EventWithoutData = Omit<Event, 'data'>;

/** A replay, another job on deliveries, or the erasure of a tenant. */
export type Job = Replay | Erasure;

type ChangeFeedsOptions = { readonly database: Database; readonly reads: FairReads; readonly log: Logger };

/** The changes of each table that has a live stream. */
export class ChangeFeeds {
  readonly deliveries: ChangeFeed<Delivery>;
  readonly events: ChangeFeed<EventWithoutData>;
  readonly rejectedEvents: ChangeFeed<RejectedEvent>;
  readonly subscriptions: ChangeFeed<WebhookSubscription>;
  readonly jobs: ChangeFeed<Job>;

  constructor(options: ChangeFeedsOptions) {
    const { prisma } = options.database;
    this.deliveries = new ChangeFeed({
      ...options,
      table: 'deliveries',
      load: loader((where) => prisma.delivery.findMany({ where })),
    });
    this.events = new ChangeFeed({
      ...options,
      table: 'events',
      load: loader((where) => prisma.event.findMany({ where, omit: { data: true } })),
    });
    this.rejectedEvents = new ChangeFeed({
      ...options,
      table: 'rejected_events',
      load: loader((where) => prisma.rejectedEvent.findMany({ where })),
    });
    this.subscriptions = new ChangeFeed({
      ...options,
      table: 'subscriptions',
      load: loader((where) => prisma.webhookSubscription.findMany({ where })),
    });
    this.jobs = new ChangeFeed({
      ...options,
      table: 'jobs',
      load: loader<Job>(async (where) => [
        ...(await prisma.replay.findMany({ where })),
        ...(await prisma.erasure.findMany({ where: { ...where, eventRowId: null } })),
      ]),
    });
  }

  async stop(): Promise<void> {
    const feeds = [this.deliveries, this.events, this.rejectedEvents, this.subscriptions, this.jobs];
    await Promise.all(feeds.map((feed) => feed.stop()));
  }
}

type Where = {
  readonly id: { readonly in: string[]; readonly gte: string; readonly lte: string };
  readonly tenant?: string;
};

function loader<Row extends { readonly id: string }>(find: (where: Where) => Promise<Row[]>): LoadRows<Row> {
  return async (ids, tenant) => {
    const [gte, lte] = idRange(ids);
    const rows = await find({ id: { in: [...ids], gte, lte }, ...(tenant !== undefined && { tenant }) });
    return new Map(rows.map((row) => [row.id, row]));
  };
}
