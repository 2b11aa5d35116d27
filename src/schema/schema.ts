import { builder } from './builder.ts';
import './attempt.ts';
import './delivery.ts';
import './delivery-log.ts';
import './delivery-mutations.ts';
import './errors.ts';
import './event.ts';
import './replay.ts';
import './replay-mutations.ts';
import './replay-progress.ts';
import './scalars.ts';
import './send-test-event.ts';
import './webhook-subscription.ts';
import './webhook-subscription-mutations.ts';

/** The imports above put their types and fields into the builder. */
export const schema = builder.toSchema();
