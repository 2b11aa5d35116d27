import { TooManySessionsError } from '../auth/sessions.ts';
import { CircuitClosedError } from '../delivery/circuit/probe.ts';
import { TargetRejectedError } from '../delivery/http/egress-policy.ts';
import {
  DeliveryNotPendingError,
  DeliveryNotRetryableError,
  SubscriptionInactiveError,
} from '../delivery/queue/retry.ts';
import { TooManyRedactionsError } from '../erasure/service.ts';
import { EventDataInvalidError } from '../events/catalogue/validator.ts';
import { TooManyTestsError } from '../events/test-event.ts';
import {
  type DomainError,
  type InputError,
  type InputProblem,
  InvalidInputError,
  NotFoundError,
} from '../lib/errors.ts';
import { ReplayNotRunningError, ReplayTooLargeError, TooManyReplaysError } from '../replays/service.ts';
import { InvalidHeadersError } from '../subscriptions/headers.ts';
import {
  SubscriptionChangedError,
  SubscriptionsTooLargeError,
  TooManySecretsError,
  TooManySubscriptionsError,
} from '../subscriptions/service.ts';
import { builder } from './builder.ts';

const ErrorInterface = builder.interfaceRef<DomainError>('Error').implement({
  description: 'The reason why a mutation changed nothing, for the caller to act on.',
  fields: (t) => ({
    code: t.exposeString('code', { description: 'A code for programs. It never changes.' }),
    message: t.string({
      description: 'A text for people. It may change.',
      resolve: ({ message }, _args, { work }) => work.takeErrorText(message),
    }),
  }),
});

export const InputProblemType = builder.objectRef<InputProblem>('InputProblem').implement({
  description: 'One problem of the input.',
  fields: (t) => ({
    path: t.exposeString('path', {
      description:
        'The path of the field, below `input` if the mutation has one: names and indexes, separated by dots (`url`, `headers.0.name`, `filter.user.age.$gt`, `data.user.age`).',
    }),
    message: t.exposeString('message', { description: 'A text for people, without secrets. It may change.' }),
    code: t.string({
      description: 'The kind of the problem: the `code` of an error that has only problems of this kind.',
      resolve: ({ code }) => code ?? 'INVALID_INPUT',
    }),
  }),
});

const InputErrorInterface = builder.interfaceRef<InputError>('InputError').implement({
  description: 'The input is not valid. Every error about input implements this interface, so a form needs no other.',
  interfaces: [ErrorInterface],
  fields: (t) => ({
    problems: t.field({
      type: [InputProblemType],
      description: 'All problems, up to 16 KiB of text.',
      resolve: ({ problems }, _args, { work }) => [...work.takeErrorText(problems)],
    }),
  }),
});

const INPUT_ERROR = { interfaces: [ErrorInterface, InputErrorInterface] };

builder.objectType(InvalidInputError, {
  name: 'InvalidInputError',
  description: '`INVALID_INPUT`: the input is not valid. Its problems can be of several kinds, each with its `code`.',
  ...INPUT_ERROR,
});

builder.objectType(EventDataInvalidError, {
  name: 'EventDataInvalidError',
  description:
    '`EVENT_DATA_INVALID`: the data does not match the schema of its event type. `problems` has the first 20; their messages quote the schema, never the data.',
  ...INPUT_ERROR,
});

builder.objectType(TargetRejectedError, {
  name: 'TargetRejectedError',
  description: '`TARGET_REJECTED`: requests may not be sent to this URL.',
  ...INPUT_ERROR,
});

builder.objectType(InvalidHeadersError, {
  name: 'InvalidHeadersError',
  description: '`INVALID_HEADERS`: these custom headers cannot be sent.',
  ...INPUT_ERROR,
});

builder.objectType(NotFoundError, {
  name: 'NotFoundError',
  description: '`NOT_FOUND`: the object does not exist, or belongs to another tenant.',
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

builder.objectType(TooManyRedactionsError, {
  name: 'TooManyRedactionsError',
  description: '`TOO_MANY_REDACTIONS`: the maximum number of redactions of the tenant is running.',
  interfaces: [ErrorInterface],
});

builder.objectType(TooManySecretsError, {
  name: 'TooManySecretsError',
  description: '`TOO_MANY_SECRETS`: too many old signing secrets are still valid.',
  interfaces: [ErrorInterface],
});

builder.objectType(TooManySessionsError, {
  name: 'TooManySessionsError',
  description: '`TOO_MANY_SESSIONS`: the tenant, or all operators together, have the maximum number of valid sessions.',
  interfaces: [ErrorInterface],
});

builder.objectType(TooManySubscriptionsError, {
  name: 'TooManySubscriptionsError',
  description: '`TOO_MANY_SUBSCRIPTIONS`: the tenant has the maximum number of webhook subscriptions.',
  interfaces: [ErrorInterface],
});

builder.objectType(SubscriptionsTooLargeError, {
  name: 'SubscriptionsTooLargeError',
  description:
    "`SUBSCRIPTIONS_TOO_LARGE`: the event types and filters of the tenant's webhook subscriptions would have more than 2 MiB of JSON together.",
  interfaces: [ErrorInterface],
});

builder.objectType(SubscriptionChangedError, {
  name: 'SubscriptionChangedError',
  description: '`SUBSCRIPTION_CHANGED`: the webhook subscription was changed after `ifUnchangedSince`.',
  interfaces: [ErrorInterface],
});

builder.objectType(CircuitClosedError, {
  name: 'CircuitClosedError',
  description: '`CIRCUIT_CLOSED`: the circuit is closed, so deliveries are sent without a probe.',
  interfaces: [ErrorInterface],
});

builder.objectType(DeliveryNotRetryableError, {
  name: 'DeliveryNotRetryableError',
  description:
    '`DELIVERY_NOT_RETRYABLE`: the delivery succeeded or was cancelled, or its event is no longer kept or was redacted.',
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
    '`TOO_MANY_REPLAYS`: the maximum number of replays of the tenant is running, or the deliveries of another replay are being counted.',
  interfaces: [ErrorInterface],
});

builder.objectType(ReplayTooLargeError, {
  name: 'ReplayTooLargeError',
  description:
    '`REPLAY_TOO_LARGE`: the deliveries that match the filter cannot be counted in time. Use a narrower filter.',
  interfaces: [ErrorInterface],
});

builder.objectType(ReplayNotRunningError, {
  name: 'ReplayNotRunningError',
  description: '`REPLAY_NOT_RUNNING`: the replay or job has ended.',
  interfaces: [ErrorInterface],
});
