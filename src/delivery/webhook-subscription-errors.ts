import { DomainError } from '../domain-error.ts';

/** `path` names the field of the input, with a number for an element of a list: `eventTypes.2`. */
export type InputProblem = { readonly path: string; readonly message: string };

/** Of all problems together, as JSON: their paths have names that the client chose. */
const MAX_PROBLEMS_BYTES = 16 * 1_024;
const MAX_PATH_LENGTH = 256;

/** Something in the input is not acceptable: every problem at once, not just the first, as far as 16 KiB go. */
export class InvalidInputError extends DomainError {
  readonly code = 'INVALID_INPUT';
  readonly problems: readonly InputProblem[];

  constructor(problems: readonly InputProblem[]) {
    const bounded = boundProblems(problems);
    super(bounded.map(({ path, message }) => `${path} ${message}`).join('; '));
    this.problems = bounded;
  }
}

function boundProblems(problems: readonly InputProblem[]): InputProblem[] {
  let left = MAX_PROBLEMS_BYTES;
  const bounded: InputProblem[] = [];
  for (const { path, message } of problems) {
    const problem = { path: path.length > MAX_PATH_LENGTH ? `${path.slice(0, MAX_PATH_LENGTH)}…` : path, message };
    left -= Buffer.byteLength(JSON.stringify(problem));
    if (left < 0) break;
    bounded.push(problem);
  }
  return bounded;
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
