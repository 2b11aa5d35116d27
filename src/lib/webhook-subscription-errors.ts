import { DomainError, InputError } from './domain-error.ts';

export type { InputProblem } from './domain-error.ts';

/** Problems of several kinds, or of none that has an error of its own. */
export class InvalidInputError extends InputError {
  readonly code = 'INVALID_INPUT';
}

/** There is no such thing, or it belongs to a tenant the caller does not see: the two cannot be told apart. */
export class NotFoundError extends DomainError {
  readonly code = 'NOT_FOUND';

  constructor(what: string) {
    super(`${what} not found`);
  }
}

/** The subscription exists but is switched off. */
export class SubscriptionInactiveError extends DomainError {
  readonly code = 'SUBSCRIPTION_INACTIVE';

  constructor() {
    super('the webhook subscription is inactive; activate it first');
  }
}

/** Each secret that is still valid adds a signature to every request, so their number has a limit. */
export class TooManySecretsError extends DomainError {
  readonly code = 'TOO_MANY_SECRETS';

  constructor(limit: number) {
    super(`at most ${limit} old secrets can overlap; wait until one expires, or rotate with overlapSeconds 0`);
  }
}

/** The tenant has as many webhook subscriptions as one may have: each makes a delivery of an event it wants. */
export class TooManySubscriptionsError extends DomainError {
  readonly code = 'TOO_MANY_SUBSCRIPTIONS';

  constructor(limit: number) {
    super(`a tenant may have at most ${limit} webhook subscriptions, active or not; delete one first`);
  }
}
