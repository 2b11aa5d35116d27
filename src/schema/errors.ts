import { TargetRejectedError } from '../delivery/http/egress-policy.ts';
import {
  DeliveryNotPendingError,
  DeliveryNotRetryableError,
  SubscriptionInactiveError,
} from '../delivery/queue/retry.ts';
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
import { TooManySecretsError, TooManySubscriptionsError } from '../subscriptions/errors.ts';
import { InvalidHeadersError } from '../subscriptions/headers.ts';
import { builder } from './builder.ts';

const ErrorInterface = builder.interfaceRef<DomainError>('Error').implement({
  description: 'Why a mutation did nothing: something the caller can act on.',
  fields: (t) => ({
    code: t.exposeString('code', { description: 'For programs; never changes.' }),
    message: t.string({
      description: 'For people; may change.',
      resolve: ({ message }, _args, { work }) => work.takeErrorText(message),
    }),
  }),
});

const InputProblemType = builder.objectRef<InputProblem>('InputProblem').implement({
  description: 'One thing that is wrong with the input.',
  fields: (t) => ({
    path: t.exposeString('path', {
      description:
        'The field, below `input` if the mutation has one: names and indexes, separated by dots (`url`, `headers.0.name`, `filter.user.age.$gt`, `data.user.age`).',
    }),
    message: t.exposeString('message', { description: 'For people; may change. Has no secret.' }),
    code: t.string({
      description: 'What kind of problem it is: the `code` of an error that has problems of this kind alone.',
      resolve: ({ code }) => code ?? 'INVALID_INPUT',
    }),
  }),
});

const InputErrorInterface = builder.interfaceRef<InputError>('InputError').implement({
  description: 'The input breaks rules. Every error about input is one, so a form needs to know no other.',
  interfaces: [ErrorInterface],
  fields: (t) => ({
    problems: t.field({
      type: [InputProblemType],
      description: 'All of them, as far as 16 KiB go.',
      resolve: ({ problems }, _args, { work }) => [...work.takeErrorText(problems)],
    }),
  }),
});

const INPUT_ERROR = { interfaces: [ErrorInterface, InputErrorInterface] };

builder.objectType(InvalidInputError, {
  name: 'InvalidInputError',
  description: '`INVALID_INPUT`: the input breaks rules, of several kinds if `code` differs between its problems.',
  ...INPUT_ERROR,
});

builder.objectType(EventDataInvalidError, {
  name: 'EventDataInvalidError',
  description:
    '`EVENT_DATA_INVALID`: the data breaks the schema of its event type. Has the first 20 problems, whose messages quote the schema and never the data.',
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
