import type { Logger } from 'pino';
import type { Viewer } from '../auth/viewer.ts';
import type { LiveLog } from '../delivery-log/live.ts';
import type { ChildPages, EventData } from '../delivery-log/pages.ts';
import type { SchemaThread } from '../events/catalogue/schema-thread.ts';
import type { PublishEvent } from '../events/publish.ts';
import type { OperationWork } from '../lib/operation-work.ts';
import type { RestTurn } from '../lib/semaphore.ts';
import type { NatsClient } from '../nats/connection.ts';
import type { ReplayFeed } from '../replays/progress.ts';
import type { WebhookSubscriptionServices } from '../subscriptions/service.ts';

/** What resolvers work with; lives as long as the server. */
export type SchemaServices = WebhookSubscriptionServices & {
  readonly bus: NatsClient;
  readonly liveLog: LiveLog;
  readonly log: Logger;
  /** To be called with the id of an API key that has been revoked; other processes hear of it from Postgres. */
  readonly apiKeyRevoked: (id: string) => void;
  readonly publishEvent: PublishEvent;
  readonly schemaThread: SchemaThread;
  readonly replayFeed: ReplayFeed;
};

/** What a resolver gets, anew for each operation. */
export type Context = {
  readonly services: SchemaServices;
  readonly viewer: Viewer;
  readonly childPages: ChildPages;
  readonly eventData: EventData;
  /** For what only waits: others of the tenant have their turn meanwhile. Undefined if there are no turns. */
  readonly rest?: RestTurn;
  readonly work: OperationWork;
  /** Aborts when the server stops: live streams end then. */
  readonly stopping: AbortSignal;
  /** Of a query: aborts when it has been ended (time, or its client has gone), and nothing more of it is to be begun. */
  readonly signal?: AbortSignal;
};
