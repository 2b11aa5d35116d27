import { DeliveryStatus, FailureReason, RejectionReason } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';

export const DeliveryStatusEnum = builder.enumType('DeliveryStatus', {
  description: 'What became of a delivery so far.',
  values: {
    [DeliveryStatus.PENDING]: { description: 'An attempt is being made, or due, or waited for.' },
    [DeliveryStatus.SUCCESS]: { description: 'The endpoint answered with a 2xx.' },
    [DeliveryStatus.FAILURE]: { description: 'Every attempt failed; no more are made.' },
    [DeliveryStatus.CANCELLED]: {
      description: 'It was cancelled by a user, or the webhook subscription was deactivated or deleted first.',
    },
  },
});

export const FailureReasonEnum = builder.enumType('FailureReason', {
  description: 'Why an attempt failed.',
  values: Object.values(FailureReason),
});

export const RejectionReasonEnum = builder.enumType('RejectionReason', {
  description: 'Why a published message did not become an event.',
  values: Object.values(RejectionReason),
});

const StatusCodeRange = builder.inputType('StatusCodeRange', {
  description: 'HTTP status codes, both ends included.',
  fields: (t) => ({ from: t.int({ required: true }), to: t.int({ required: true }) }),
});

const EVENT_TYPES = 'Event types, prefixes such as `conversation.*`, or `*`.';
const FROM = 'From this moment on, it included.';
const TO = 'Up to this moment, it excluded.';
const TENANT = 'Only the admin key may name any tenant; other credentials see their own alone.';

export const DeliveryFilterInput = builder.inputType('DeliveryFilter', {
  description:
    'Which deliveries or attempts are meant: all fields given must match, of a list one entry; an empty list matches nothing. The delivery log, live or not, looks at the attempt; `deliveries` at the delivery, of which one attempt must match `statusCodes` and `failureReasons`.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    subscriptionIds: t.idList(),
    eventTypes: t.stringList({ description: EVENT_TYPES }),
    statuses: t.field({ type: [DeliveryStatusEnum], description: 'Attempts only ever have SUCCESS or FAILURE.' }),
    statusCodes: t.field({ type: [StatusCodeRange] }),
    failureReasons: t.field({ type: [FailureReasonEnum] }),
    from: t.field({ type: 'DateTime', description: FROM }),
    to: t.field({ type: 'DateTime', description: TO }),
  }),
});

export const EventFilterInput = builder.inputType('EventFilter', {
  description: 'Which events are meant; `from` and `to` say when they came in.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    eventTypes: t.stringList({ description: EVENT_TYPES }),
    from: t.field({ type: 'DateTime', description: FROM }),
    to: t.field({ type: 'DateTime', description: TO }),
  }),
});

export const RejectedEventFilterInput = builder.inputType('RejectedEventFilter', {
  description: 'Which rejected events are meant.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    reasons: t.field({ type: [RejectionReasonEnum] }),
    from: t.field({ type: 'DateTime', description: FROM }),
    to: t.field({ type: 'DateTime', description: TO }),
  }),
});

export const WebhookSubscriptionFilterInput = builder.inputType('WebhookSubscriptionFilter', {
  description: 'Which webhook subscriptions are meant.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    subscriptionIds: t.idList(),
    isActive: t.boolean(),
  }),
});
