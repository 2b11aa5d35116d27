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
  values: {
    [FailureReason.HTTP_STATUS]: { description: 'A status from 400 to 599.' },
    [FailureReason.REDIRECT]: { description: 'A status from 300 to 399; redirects are not followed.' },
    [FailureReason.TIMEOUT]: { description: 'No status line within `timeoutMs`, or no connection in time.' },
    [FailureReason.CONNECTION_REFUSED]: { description: 'Nothing listens at the address.' },
    [FailureReason.CONNECTION_RESET]: { description: 'The connection was closed before a response came.' },
    [FailureReason.UNREACHABLE]: { description: 'There is no route to the host.' },
    [FailureReason.DNS_FAILURE]: { description: 'The name has no address, or its name servers did not answer.' },
    [FailureReason.BLOCKED_TARGET]: { description: 'Requests may not be sent to the address or the port.' },
    [FailureReason.TLS_FAILURE]: { description: 'The handshake failed, or the certificate is not valid.' },
    [FailureReason.INVALID_RESPONSE]: { description: 'It was not HTTP, or a status that does not exist.' },
    [FailureReason.INVALID_REQUEST]: { description: 'The URL or a header cannot be sent.' },
    [FailureReason.OTHER]: { description: 'Anything else; `errorMessage` says what.' },
  },
});

export const RejectionReasonEnum = builder.enumType('RejectionReason', {
  description: 'Why a published message did not become an event.',
  values: {
    [RejectionReason.INVALID_SUBJECT]: { description: 'The subject names no valid tenant or event type.' },
    [RejectionReason.INVALID_HEADERS]: { description: 'The headers cannot be read.' },
    [RejectionReason.INVALID_JSON]: { description: 'The data is not JSON in UTF-8, or nested too deep.' },
    [RejectionReason.TOO_LARGE]: { description: 'There is more than 1 MiB of data.' },
    [RejectionReason.INVALID_EVENT_ID]: { description: 'The id cannot be sent as a header.' },
    [RejectionReason.INVALID_OCCURRED_AT]: { description: 'The time is not ISO 8601 with a zone.' },
    [RejectionReason.INVALID_CLOUD_EVENT]: { description: 'It says that it is a CloudEvent, and is none.' },
    [RejectionReason.SCHEMA_MISMATCH]: {
      description: 'The data breaks the schema of its type in the event catalogue.',
    },
    [RejectionReason.NOT_RECORDED]: {
      description: 'It was an event, but Postgres refused to record it, again and again for two days.',
    },
  },
});

const StatusCodeRange = builder.inputType('StatusCodeRange', {
  description: 'HTTP status codes, both ends included.',
  fields: (t) => ({
    from: t.int({ required: true, description: 'The least one.' }),
    to: t.int({ required: true, description: 'The greatest one.' }),
  }),
});

const EVENT_TYPES = 'Event types, prefixes such as `conversation.*`, or `*`.';
const FROM = 'From this moment on, it included.';
const TO = 'Up to this moment, it excluded.';
const TENANT = 'Only the admin key may name any tenant; other credentials see their own alone.';

export const DeliveryFilterInput = builder.inputType('DeliveryFilter', {
  description:
    'Which deliveries or attempts are meant: all fields given must match, of a list one entry; an empty list matches nothing, and none may have more than 250. The delivery log, live or not, looks at the attempt; `deliveries` at the delivery, of which one attempt must match `statusCodes` and `failureReasons`.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    subscriptionIds: t.idList({ description: 'Of webhook subscriptions.' }),
    eventTypes: t.stringList({ description: EVENT_TYPES }),
    statuses: t.field({ type: [DeliveryStatusEnum], description: 'Attempts only ever have SUCCESS or FAILURE.' }),
    statusCodes: t.field({ type: [StatusCodeRange], description: 'The response had one of these.' }),
    failureReasons: t.field({ type: [FailureReasonEnum], description: 'Only what failed has one.' }),
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
    reasons: t.field({ type: [RejectionReasonEnum], description: 'Rejected for one of these.' }),
    from: t.field({ type: 'DateTime', description: FROM }),
    to: t.field({ type: 'DateTime', description: TO }),
  }),
});

export const WebhookSubscriptionFilterInput = builder.inputType('WebhookSubscriptionFilter', {
  description: 'Which webhook subscriptions are meant.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    subscriptionIds: t.idList({ description: 'One of these.' }),
    isActive: t.boolean({ description: 'Only those that are active, or only the others.' }),
  }),
});
