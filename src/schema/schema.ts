import { builder } from './builder.ts';
import './attempt.ts';
import './delivery.ts';
import './delivery-log.ts';
import './delivery-stats.ts';
import './errors.ts';
import './event.ts';
import './scalars.ts';
import './send-test-event.ts';
import './webhook-subscription.ts';
import './webhook-subscription-mutations.ts';

/** The imports above put their types and fields into the builder. */
export const schema = builder.toSchema();
