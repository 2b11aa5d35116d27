/**
 * The types of each interface, for the cache: without them it guesses whether a fragment on an interface matches, and can lose
 * the error of a mutation. A test compares them with schema.graphql.
 */
const INPUT_ERRORS = ['EventDataInvalidError', 'InvalidHeadersError', 'InvalidInputError', 'TargetRejectedError'];

export const POSSIBLE_TYPES = {
  InputError: INPUT_ERRORS,
  Error: [
    ...INPUT_ERRORS,
    'CircuitClosedError',
    'DeliveryNotPendingError',
    'DeliveryNotRetryableError',
    'NotFoundError',
    'ReplayNotRunningError',
    'ReplayTooLargeError',
    'SubscriptionChangedError',
    'SubscriptionInactiveError',
    'SubscriptionsTooLargeError',
    'TooManyRedactionsError',
    'TooManyReplaysError',
    'TooManySecretsError',
    'TooManySessionsError',
    'TooManySubscriptionsError',
    'TooManyTestsError',
  ],
};
