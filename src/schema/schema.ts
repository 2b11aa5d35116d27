import { builder } from './builder.ts';
import './api-key.ts';
import './attempt.ts';
import './audit-log.ts';
import './deliver-events.ts';
import './delivery.ts';
import './delivery-job.ts';
import './delivery-stats.ts';
import './erasure.ts';
import './errors.ts';
import './event.ts';
import './event-type.ts';
import './live-changes.ts';
import './publish-event.ts';
import './publish-events.ts';
import './replay.ts';
import './search.ts';
import './server.ts';
import './session.ts';
import './subscription-actions.ts';
import './subscription-figures.ts';
import './tenant.ts';
import './test-event.ts';
import './test-filter.ts';
import './viewer.ts';
import './webhook-subscription.ts';

/** The imports above put their types and fields into the builder. */
export const schema = builder.toSchema();
