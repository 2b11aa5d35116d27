/**
 * An expected failure that the caller can act on: thrown by the domain, a union member in GraphQL. Each subclass has a
 * literal `code` that never changes once released; `message` is for people and carries no secret.
 */
export abstract class DomainError extends Error {
  abstract readonly code: string;

  constructor(message: string) {
    super(message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed()}…` : message);
  }
}

/** Characters. What a message names comes from the request, and may be long. */
const MAX_MESSAGE_LENGTH = 2_000;

type InputErrorCode = 'INVALID_INPUT' | 'TARGET_REJECTED' | 'INVALID_HEADERS' | 'EVENT_DATA_INVALID';

/**
 * `path` names the field, below `input` if the mutation has one, with names and indexes separated by dots:
 * `eventTypes.2`. `code`: of the error that it is alone; default: INVALID_INPUT, whose messages follow the path.
 */
export type InputProblem = { readonly path: string; readonly message: string; readonly code?: InputErrorCode };

/** Limit of all problems together, as JSON, in bytes: their paths have names that the client chose. */
const MAX_PROBLEMS_BYTES = 16 * 1_024;
const MAX_PATH_LENGTH = 256;

/** Something in the input is not acceptable: every problem at once, each with its path, as far as the bounds allow. */
export abstract class InputError extends DomainError {
  abstract override readonly code: InputErrorCode;
  readonly problems: readonly InputProblem[];

  constructor(problems: readonly InputProblem[], message = describe(problems)) {
    super(message);
    this.problems = boundProblems(problems);
  }
}

function describe(problems: readonly InputProblem[]): string {
  return problems.map(({ path, message, code }) => (code === undefined ? `${path} ${message}` : message)).join('; ');
}

function boundProblems(problems: readonly InputProblem[]): InputProblem[] {
  let left = MAX_PROBLEMS_BYTES;
  const bounded: InputProblem[] = [];
  for (const { path, ...rest } of problems) {
    const problem = { path: path.length > MAX_PATH_LENGTH ? `${path.slice(0, MAX_PATH_LENGTH)}…` : path, ...rest };
    left -= Buffer.byteLength(JSON.stringify(problem));
    if (left < 0) break;
    bounded.push(problem);
  }
  return bounded;
}

/** The operation needs more than the engine gives to one: `max` of what `limit` names. */
export class LimitExceededError extends DomainError {
  readonly code = 'LIMIT_EXCEEDED';
  readonly limit: string;
  readonly max: number;

  constructor(message: string, { limit, max }: { readonly limit: string; readonly max: number }) {
    super(message);
    this.limit = limit;
    this.max = max;
  }
}

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
