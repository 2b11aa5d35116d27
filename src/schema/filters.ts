import { MIN_SLOW_MS } from '../delivery-log/filter-input.ts';
import {
  DeactivationReason,
  DeliveryStatus,
  FailureReason,
  RejectionReason,
  WaitReason,
} from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { CircuitStateEnum } from './circuit.ts';
import { TEXT_ID } from './row-ids.ts';

/* The filters of lists and streams, the enums that they use, and options that other filters and inputs share. */

export const WaitReasonEnum = builder.enumType('WaitReason', {
  description: 'The reason why a pending delivery is waiting.',
  values: {
    [WaitReason.BACKOFF]: { description: 'The delivery waits for the back-off after a failed attempt.' },
    [WaitReason.RETRY_AFTER]: {
      description: 'The endpoint requested a longer wait than the back-off (Retry-After).',
    },
    [WaitReason.PAUSED]: {
      description: 'The delivery is due, but a user has paused the webhook subscription.',
    },
    [WaitReason.CIRCUIT_OPEN]: {
      description: 'The delivery is due, but the circuit is open: only probes are sent until one succeeds.',
    },
    [WaitReason.RATE_LIMITED]: {
      description:
        "The delivery is due, but the subscription's `rateLimitPerSecond` is used up, or other deliveries come first.",
    },
    [WaitReason.IN_FLIGHT_LIMIT]: {
      description:
        "The delivery is due, but the subscription's `maxInFlight` is reached, or other deliveries come first.",
    },
    [WaitReason.BROKER_UNAVAILABLE]: {
      description:
        'The delivery is due, but the message broker is unavailable or full. It is attempted when the broker recovers.',
    },
  },
});

export const DeliveryStatusEnum = builder.enumType('DeliveryStatus', {
  description: 'The status of a delivery.',
  values: {
    [DeliveryStatus.PENDING]: { description: 'An attempt is in flight or planned.' },
    [DeliveryStatus.SUCCESS]: { description: 'The endpoint answered with a status from 200 to 299.' },
    [DeliveryStatus.FAILURE]: { description: 'Every attempt failed, and no more are made.' },
    [DeliveryStatus.CANCELLED]: {
      description:
        "A user cancelled the delivery or removed its event's data, the webhook subscription was deactivated or deleted, or a test event could not be attempted.",
    },
  },
});

export const DeactivationReasonEnum = builder.enumType('DeactivationReason', {
  description: 'The reason why the engine deactivated a webhook subscription.',
  values: {
    [DeactivationReason.GONE]: { description: 'The endpoint answered with 410 Gone.' },
    [DeactivationReason.FAILING]: { description: 'No attempt had succeeded for five days.' },
  },
});

export const FailureReasonEnum = builder.enumType('FailureReason', {
  description: 'The reason why an attempt failed.',
  values: {
    [FailureReason.HTTP_STATUS]: { description: 'The endpoint answered with a status from 400 to 599.' },
    [FailureReason.REDIRECT]: {
      description: 'The endpoint answered with a status from 300 to 399. Redirects are not followed.',
    },
    [FailureReason.TIMEOUT]: { description: 'There was no status line within `timeoutMs`, or no connection in time.' },
    [FailureReason.CONNECTION_REFUSED]: { description: 'The connection was refused.' },
    [FailureReason.CONNECTION_RESET]: { description: 'The connection was closed before the response.' },
    [FailureReason.UNREACHABLE]: { description: 'There is no route to the host.' },
    [FailureReason.DNS_FAILURE]: { description: 'The host name has no address, or its name servers did not answer.' },
    [FailureReason.BLOCKED_TARGET]: { description: 'Requests may not be sent to the address or the port.' },
    [FailureReason.PROXY_FAILURE]: {
      description: 'The forward proxy of the engine failed, which shows nothing about the endpoint.',
    },
    [FailureReason.TLS_FAILURE]: { description: 'The TLS handshake failed, or the certificate is not valid.' },
    [FailureReason.INVALID_RESPONSE]: {
      description: 'The response was not HTTP, or had a status that does not exist.',
    },
    [FailureReason.INVALID_REQUEST]: { description: 'The URL or a header cannot be sent.' },
    [FailureReason.OTHER]: { description: 'There was another error; `errorMessage` describes it.' },
  },
});

export const RejectionReasonEnum = builder.enumType('RejectionReason', {
  description: 'The reason why a published message did not become an event.',
  values: {
    [RejectionReason.INVALID_SUBJECT]: { description: 'The subject names no valid tenant or event type.' },
    [RejectionReason.INVALID_HEADERS]: { description: 'The headers cannot be read, or have more than 8 KiB.' },
    [RejectionReason.INVALID_JSON]: { description: 'The data is not JSON in UTF-8, or is nested too deeply.' },
    [RejectionReason.TOO_LARGE]: { description: 'The data has more than 1 MiB.' },
    [RejectionReason.INVALID_EVENT_ID]: { description: 'The id cannot be sent as a header.' },
    [RejectionReason.INVALID_OCCURRED_AT]: { description: 'The time is not in ISO 8601 with a time zone.' },
    [RejectionReason.INVALID_CLOUD_EVENT]: {
      description: 'The message declares itself a CloudEvent, but is not a valid one.',
    },
    [RejectionReason.SCHEMA_MISMATCH]: {
      description: 'The data does not match the schema of its type in the event catalogue.',
    },
    [RejectionReason.NOT_RECORDED]: {
      description: 'Postgres rejected the event at every try for two days, or five times while EVENTS was nearly full.',
    },
    [RejectionReason.OTHER]: { description: 'There was another reason; `message` describes it.' },
  },
});

const StatusCodeRange = builder.inputType('StatusCodeRange', {
  description: 'A range of HTTP status codes, both ends included.',
  fields: (t) => ({
    from: t.int({ required: true, description: 'The lowest status code.' }),
    to: t.int({ required: true, description: 'The highest status code.' }),
  }),
});

const EVENT_TYPES = 'Any of these event types, prefixes such as `conversation.*`, or `*`.';
export const FROM = { type: 'DateTime', description: 'The earliest time, included.' } as const;
export const TO = { type: 'DateTime', description: 'The end of the period, excluded.' } as const;
/** Options of a tenant to read. */
export const TENANT = {
  description: 'The tenant. Only the scope ADMIN can name any tenant; other credentials see only their own.',
} as const;
/** Options of a tenant to change. */
export const REQUIRED_TENANT = {
  description: 'The tenant. Required with the scope ADMIN; other credentials belong to a tenant.',
} as const;

export const DeliveryFilterInput = builder.inputType('DeliveryFilter', {
  description:
    'A filter for deliveries or attempts. Every given field must match. A list matches if one of its entries does; an empty list matches nothing; a list has at most 250 entries. The delivery log applies the filter to attempts. `deliveries` applies it to deliveries, of which one attempt must match both `statusCodes` and `failureReasons`.',
  fields: (t) => ({
    tenant: t.string(TENANT),
    ids: t.idList({ description: 'Any of these deliveries, or of these attempts in the log. Not for statistics.' }),
    subscriptionIds: t.idList({ description: 'Any of these webhook subscriptions.' }),
    eventTypes: t.stringList({ description: EVENT_TYPES }),
    statuses: t.field({
      type: [DeliveryStatusEnum],
      description: 'Any of these statuses. Attempts have only SUCCESS or FAILURE.',
    }),
    statusCodes: t.field({ type: [StatusCodeRange], description: 'A response with any of these status codes.' }),
    failureReasons: t.field({ type: [FailureReasonEnum], description: 'Any of these reasons of a failure.' }),
    eventIds: t.idList({
      ...TEXT_ID,
      description:
        "Deliveries of any of these events of the tenant, by the publisher's id. Requires `tenant` with the scope ADMIN. In a live stream, only events that were recorded before the stream started. Not for attempts and statistics.",
    }),
    waitingFor: t.field({
      type: [WaitReasonEnum],
      description:
        'Pending deliveries that wait for any of these reasons now. Not for attempts, statistics and live streams.',
    }),
    minResponseTimeMs: t.int({
      description: `Attempts that took at least this many milliseconds; the minimum is ${MIN_SLOW_MS.toLocaleString('en')}. Not for deliveries and statistics.`,
    }),
    attemptNumbers: t.intList({
      description:
        'Attempts with any of these numbers within their delivery, from 1. Not for deliveries and statistics.',
    }),
    from: t.field(FROM),
    to: t.field(TO),
  }),
});

export const EventFilterInput = builder.inputType('EventFilter', {
  description: 'A filter for events; `from` and `to` apply to `createdAt`.',
  fields: (t) => ({
    tenant: t.string(TENANT),
    ids: t.idList({
      ...TEXT_ID,
      description:
        "Any of these events of the tenant, by the publisher's id, at most 250. Requires `tenant` with the scope ADMIN.",
    }),
    eventTypes: t.stringList({ description: EVENT_TYPES }),
    from: t.field(FROM),
    to: t.field(TO),
  }),
});

export const RejectedEventFilterInput = builder.inputType('RejectedEventFilter', {
  description: 'A filter for rejected events.',
  fields: (t) => ({
    tenant: t.string(TENANT),
    reasons: t.field({ type: [RejectionReasonEnum], description: 'Any of these reasons.' }),
    from: t.field(FROM),
    to: t.field(TO),
  }),
});

export const WebhookSubscriptionFilterInput = builder.inputType('WebhookSubscriptionFilter', {
  description: 'A filter for webhook subscriptions.',
  fields: (t) => ({
    tenant: t.string(TENANT),
    subscriptionIds: t.idList({ description: 'Any of these webhook subscriptions.' }),
    isActive: t.boolean({ description: 'Only active webhook subscriptions, or only inactive ones.' }),
    deactivationReasons: t.field({
      type: [DeactivationReasonEnum],
      description: 'Any of these reasons of a deactivation by the engine.',
    }),
    search: t.string({
      description: 'A part of the URL or the description, at most 200 characters, without regard to case.',
    }),
    circuitStates: t.field({ type: [CircuitStateEnum], description: 'Any of these states of the circuit.' }),
    failing: t.boolean({
      description: 'Only webhook subscriptions with a failure since their last success, or only the others.',
    }),
    eventType: t.string({
      description: 'An event type that the webhook subscription selects, by its name, a prefix or `*`.',
    }),
    paused: t.boolean({ description: 'Only paused webhook subscriptions, or only the others.' }),
  }),
});
