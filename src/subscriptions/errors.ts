import { DomainError } from '../lib/errors.ts';

/** Each valid secret adds a signature to every request, so their number is limited. */
export class TooManySecretsError extends DomainError {
  readonly code = 'TOO_MANY_SECRETS';

  constructor(limit: number) {
    super(`at most ${limit} old secrets can overlap; wait until one expires, or rotate with overlapSeconds 0`);
  }
}

/** The number of webhook subscriptions is limited, because each can create a delivery of the same event. */
export class TooManySubscriptionsError extends DomainError {
  readonly code = 'TOO_MANY_SUBSCRIPTIONS';

  constructor(limit: number) {
    super(`a tenant may have at most ${limit} webhook subscriptions, active or not; delete one first`);
  }
}
