import { InvalidHeadersError } from '../delivery/custom-headers.ts';
import { DeliveryNotPendingError, DeliveryNotRetryableError } from '../delivery/delivery-errors.ts';
import { ReplayNotRunningError, ReplayTooLargeError, TooManyReplaysError } from '../delivery/replay-errors.ts';
import { TargetRejectedError } from '../delivery/target-url.ts';
import {
  type InputProblem,
  InvalidInputError,
  NotFoundError,
  SubscriptionInactiveError,
  TooManySecretsError,
  TooManySubscriptionsError,
} from '../delivery/webhook-subscription-errors.ts';
import type { DomainError } from '../domain-error.ts';
import type { SchemaProblem } from '../events/compile-schema.ts';
import { EventDataInvalidError } from '../events/event-data-invalid-error.ts';
import { TooManyTestsError } from '../events/test-event.ts';
import { builder } from './builder.ts';

const ErrorInterface = builder.interfaceRef<DomainError>('Error').implement({
  description: 'Why a mutation did nothing: something the caller can act on.',
  fields: (t) => ({
    code: t.exposeString('code', { description: 'For programs; never changes.' }),
    message: t.exposeString('message', { description: 'For people; may change.' }),
  }),
});

const InputProblemType = builder.objectRef<InputProblem>('InputProblem').implement({
  description: 'One thing that is wrong with the input.',
  fields: (t) => ({
    path: t.exposeString('path', { description: 'The field, with a number for an element of a list: `eventTypes.2`.' }),
    message: t.exposeString('message'),
  }),
});

builder.objectType(InvalidInputError, {
  name: 'InvalidInputError',
  description: '`INVALID_INPUT`: the input breaks rules; all of them are in `problems`.',
  interfaces: [ErrorInterface],
  fields: (t) => ({
    problems: t.field({ type: [InputProblemType], resolve: ({ problems }) => [...problems] }),
  }),
});

const SchemaProblemType = builder.objectRef<SchemaProblem>('SchemaProblem').implement({
  description: 'One place where data breaks a schema.',
  fields: (t) => ({
    path: t.exposeString('path', { description: 'A JSON Pointer that begins with `data`: `data/user/age`.' }),
    message: t.exposeString('message', { description: 'Quotes the schema, never the data.' }),
  }),
});

builder.objectType(EventDataInvalidError, {
  name: 'EventDataInvalidError',
  description: '`EVENT_DATA_INVALID`: the data breaks the schema of its event type.',
  interfaces: [ErrorInterface],
  fields: (t) => ({
    problems: t.field({
      type: [SchemaProblemType],
      description: 'The first 20.',
      resolve: ({ problems }) => [...problems],
    }),
  }),
});

builder.objectType(TargetRejectedError, {
  name: 'TargetRejectedError',
  description: '`TARGET_REJECTED`: requests may not be sent to this URL.',
  interfaces: [ErrorInterface],
});

builder.objectType(InvalidHeadersError, {
  name: 'InvalidHeadersError',
  description: '`INVALID_HEADERS`: these custom headers cannot be sent; the message names every problem.',
  interfaces: [ErrorInterface],
});

builder.objectType(NotFoundError, {
  name: 'NotFoundError',
  description: "`NOT_FOUND`: there is no such thing, or it is another tenant's.",
  interfaces: [ErrorInterface],
});

builder.objectType(SubscriptionInactiveError, {
  name: 'SubscriptionInactiveError',
  description: '`SUBSCRIPTION_INACTIVE`: an inactive webhook subscription gets no deliveries.',
  interfaces: [ErrorInterface],
});

builder.objectType(TooManyTestsError, {
  name: 'TooManyTestsError',
  description: '`TOO_MANY_TESTS`: too many test events of the tenant are still being sent.',
  interfaces: [ErrorInterface],
});

builder.objectType(TooManySecretsError, {
  name: 'TooManySecretsError',
  description: '`TOO_MANY_SECRETS`: too many old signing secrets are still valid.',
  interfaces: [ErrorInterface],
});

builder.objectType(TooManySubscriptionsError, {
  name: 'TooManySubscriptionsError',
  description: '`TOO_MANY_SUBSCRIPTIONS`: the tenant has as many webhook subscriptions as a tenant may have.',
  interfaces: [ErrorInterface],
});

builder.objectType(DeliveryNotRetryableError, {
  name: 'DeliveryNotRetryableError',
  description: '`DELIVERY_NOT_RETRYABLE`: the delivery has succeeded or was cancelled, or its event is no longer kept.',
  interfaces: [ErrorInterface],
});

builder.objectType(DeliveryNotPendingError, {
  name: 'DeliveryNotPendingError',
  description: '`DELIVERY_NOT_PENDING`: the delivery has ended.',
  interfaces: [ErrorInterface],
});

builder.objectType(TooManyReplaysError, {
  name: 'TooManyReplaysError',
  description:
    '`TOO_MANY_REPLAYS`: as many replays of the tenant are running as may be at a time, or another one is just being counted.',
  interfaces: [ErrorInterface],
});

builder.objectType(ReplayTooLargeError, {
  name: 'ReplayTooLargeError',
  description: '`REPLAY_TOO_LARGE`: the deliveries that the filter means cannot be counted in time; narrow it down.',
  interfaces: [ErrorInterface],
});

builder.objectType(ReplayNotRunningError, {
  name: 'ReplayNotRunningError',
  description: '`REPLAY_NOT_RUNNING`: the replay has ended.',
  interfaces: [ErrorInterface],
});
