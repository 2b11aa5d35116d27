import type { Logger } from 'pino';
import type { WebhookSubscriptionServices } from '../delivery/webhook-subscriptions.ts';
import type { EventBus } from '../events/event-bus.ts';
import type { LiveLog } from '../events/live-log.ts';
import type { Viewer } from './viewer.ts';

/** What resolvers work with; lives as long as the server. */
export type SchemaServices = WebhookSubscriptionServices & {
  readonly bus: EventBus;
  readonly liveLog: LiveLog;
  readonly log: Logger;
};

/** What a resolver gets, anew for each operation. */
export type Context = {
  readonly services: SchemaServices;
  readonly viewer: Viewer;
  /** Aborts when the server stops: live streams end then. */
  readonly stopping: AbortSignal;
};
