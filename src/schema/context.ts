import type { Logger } from 'pino';
import type { Viewer } from '../auth/viewer.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import type { ChangeFeeds } from '../delivery-log/changes/change-feeds.ts';
import type { ChildPages } from '../delivery-log/child-pages.ts';
import type { DeliveryCounter } from '../delivery-log/delivery-counts.ts';
import type { EventData } from '../delivery-log/event-data.ts';
import type { EventTypeFigures } from '../delivery-log/event-type-figures.ts';
import type { LiveLog } from '../delivery-log/live-log.ts';
import type { SubscriptionFigures } from '../delivery-log/subscription-figures.ts';
import type { ReadTenantFigures } from '../delivery-log/tenant-figures.ts';
import type { SchemaThread } from '../events/catalogue/schema-thread.ts';
import type { PublishEvents } from '../events/publish.ts';
import type { OperationWork } from '../lib/operation-work.ts';
import type { WithoutPermit } from '../lib/semaphore.ts';
import type { ReplayFeed } from '../replays/progress.ts';
import type { WebhookSubscriptionServices } from '../subscriptions/service.ts';
import type { ServerInfo } from './server.ts';

/** The services of the resolvers, created once for the server. */
export type SchemaServices = WebhookSubscriptionServices & {
  readonly deliveries: DeliveryStream;
  readonly liveLog: LiveLog;
  readonly changes: ChangeFeeds;
  readonly log: Logger;
  /** Ends the use of a revoked API key or replaced token in this process; Postgres notifies the others. */
  readonly apiKeyRevoked: (id: string) => void;
  readonly publishEvents: PublishEvents;
  readonly schemaThread: SchemaThread;
  readonly replayFeed: ReplayFeed;
  readonly server: ServerInfo;
};

/** The context of one operation. */
export type Context = {
  readonly services: SchemaServices;
  readonly viewer: Viewer;
  /** The position in a trace of the HTTP request, if traces are on. */
  readonly traceParent?: string | undefined;
  readonly childPages: ChildPages;
  readonly eventData: EventData;
  readonly countDeliveriesOfEvent: DeliveryCounter;
  readonly countDeliveriesOfReplay: DeliveryCounter;
  readonly subscriptionFigures: SubscriptionFigures;
  readonly tenantFigures: ReadTenantFigures;
  readonly eventTypeFigures: EventTypeFigures;
  /** Releases the tenant's permit while an operation only waits. Undefined if concurrency is not limited. */
  readonly withoutPermit?: WithoutPermit;
  /**
   * Waits until the fields of the next value of a live stream may be resolved. Undefined if concurrency is not limited.
   */
  readonly admitValue?: () => Promise<void>;
  readonly work: OperationWork;
  /** Aborts when the server stops, which ends live streams. */
  readonly stopping: AbortSignal;
  /** Aborts when a query times out or its client disconnects. Resolvers must start no further work. */
  readonly signal?: AbortSignal;
};
