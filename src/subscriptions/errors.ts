import { DomainError } from '../lib/errors.ts';

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
