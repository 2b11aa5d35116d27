/**
 * An expected failure that the caller can act on: thrown by the domain, a union member in GraphQL. Each subclass has a
 * literal `code` that never changes after a release; `message` is for people and contains no secret.
 */
export abstract class DomainError extends Error {
  abstract readonly code: string;

  constructor(message: string) {
    super(message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed()}…` : message);
  }
}

/** Characters. A message may quote long values from the request. */
const MAX_MESSAGE_LENGTH = 2_000;

type InputErrorCode = 'INVALID_INPUT' | 'TARGET_REJECTED' | 'INVALID_HEADERS' | 'EVENT_DATA_INVALID';

/**
 * `path` names the field with names and indexes separated by dots, such as `eventTypes.2`; it is relative to `input` if
 * the mutation has that argument. `code`: the code of the error if this is its only problem; default: INVALID_INPUT,
 * whose messages follow the path.
 */
export type InputProblem = { readonly path: string; readonly message: string; readonly code?: InputErrorCode };

/** Maximum bytes of all problems of an error as JSON: their paths contain names that the client chose. */
const MAX_PROBLEMS_BYTES = 16 * 1_024;
const MAX_PATH_LENGTH = 256;

/** The input is invalid. Lists every problem with its path, up to the limits above. */
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

/** The operation exceeds a limit of the engine: `limit` names the limited quantity, `max` is its maximum. */
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

/** Problems with several codes, or problems whose code is INVALID_INPUT. */
export class InvalidInputError extends InputError {
  readonly code = 'INVALID_INPUT';
}

/** The object does not exist, or belongs to a tenant that the caller may not see. The error is the same in both cases. */
export class NotFoundError extends DomainError {
  readonly code = 'NOT_FOUND';

  /** `advice`: what the caller can do, if more than to check the id. */
  constructor(what: string, advice?: string) {
    super(`${what} not found${advice === undefined ? '' : `: ${advice}`}`);
  }
}
