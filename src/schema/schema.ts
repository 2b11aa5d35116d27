import { builder } from './builder.ts';
import './api-key.ts';
import './api-key-mutations.ts';
import './attempt.ts';
import './delivery.ts';
import './delivery-log.ts';
import './delivery-mutations.ts';
import './delivery-stats.ts';
import './errors.ts';
import './event.ts';
import './event-type.ts';
import './publish-event.ts';
import './put-event-type.ts';
import './replay.ts';
import './replay-mutations.ts';
import './replay-progress.ts';
import './scalars.ts';
import './send-test-event.ts';
import './test-filter.ts';
import './webhook-subscription.ts';
import './webhook-subscription-mutations.ts';

/** The imports above put their types and fields into the builder. */
export const schema = builder.toSchema();
