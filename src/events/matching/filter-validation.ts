import { isObject, NUMBER_TOO_LARGE } from '../../lib/json.ts';

/** `path` leads to the condition: `filter.user.age.$gt`. */
export type FilterProblem = { readonly path: string; readonly message: string };

const MAX_JSON_BYTES = 16 * 1_024;
const MAX_DEPTH = 10;
const MAX_CONDITIONS = 100;
const MAX_LIST_LENGTH = 250;
const MAX_NAME_LENGTH = 256;

/** Validators of operands by operator. Each returns the problem, undefined if there is none. */
const OPERANDS = {
  $eq: problemOfLiteral,
  $ne: problemOfLiteral,
  $in: problemOfList,
  $nin: problemOfList,
  $gt: problemOfComparable,
  $gte: problemOfComparable,
  $lt: problemOfComparable,
  $lte: problemOfComparable,
  $startsWith: (operand: unknown) => (typeof operand === 'string' ? problemOfLiteral(operand) : 'must be a string'),
  $exists: (operand: unknown) => (typeof operand === 'boolean' ? undefined : 'must be true or false'),
} as const;

const OPERATORS = [...Object.keys(OPERANDS), '$and', '$or', '$not'];
export type Operator = keyof typeof OPERANDS | '$and' | '$or' | '$not';

/** Every problem of a payload filter under the rules of docs/payload-filters.md; only the limit, if it exceeds one. */
export function validateFilter(filter: unknown): readonly FilterProblem[] {
  const path = 'filter';
  if (!isObject(filter)) return [{ path, message: 'must be a JSON object' }];
  const values = { left: MAX_JSON_BYTES };
  if (isDeeperThan(MAX_DEPTH, filter, values)) {
    return [{ path, message: `may be nested at most ${MAX_DEPTH} levels deep` }];
  }
  if (values.left <= 0 || Buffer.byteLength(JSON.stringify(filter)) > MAX_JSON_BYTES) {
    return [{ path, message: `may have at most ${MAX_JSON_BYTES} bytes of JSON` }];
  }
  const { problems, count } = inspect(filter, path);
  if (count > MAX_CONDITIONS) return [{ path, message: `may have at most ${MAX_CONDITIONS} conditions` }];
  return problems;
}

/**
 * `values.left`: remaining values to visit, initially the maximum of bytes. Each value takes more than one byte, so a filter
 * with more values is invalid in any case. Visiting 1 MB of values would take 100 ms.
 */
function isDeeperThan(levels: number, value: unknown, values: { left: number }): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  // Object.values would read all members first. `as`: an object may have any members.
  for (const name in value) {
    values.left -= 1;
    if (values.left <= 0) return false;
    if (isDeeperThan(levels - 1, (value as Readonly<Record<string, unknown>>)[name], values)) return true;
  }
  return false;
}

/** `count`: number of comparisons, which determines the cost of a filter. */
type Inspection = { readonly problems: readonly FilterProblem[]; readonly count: number };

function inspect(condition: unknown, path: string): Inspection {
  if (!isObject(condition)) return comparison(path, problemOfLiteral(condition));
  const names = Object.keys(condition);
  const problem = problemOfNames(names);
  if (problem !== undefined) return comparison(path, problem);
  return combine(names.map((name) => inspectPart({ name, operand: condition[name], path: `${path}.${name}` })));
}

type Part = { readonly name: string; readonly operand: unknown; readonly path: string };

function inspectPart({ name, operand, path }: Part): Inspection {
  if (isComparisonOperator(name)) return comparison(path, OPERANDS[name](operand));
  if (name === '$and' || name === '$or') return inspectList(operand, path);
  if (name === '$not') return inspectObject(operand, path);
  return name.startsWith('$')
    ? comparison(path, `is not an operator; the operators are ${OPERATORS.join(', ')}`)
    : inspect(operand, path);
}

function inspectList(operand: unknown, path: string): Inspection {
  if (!Array.isArray(operand) || operand.length === 0) return comparison(path, 'must be a list of at least one object');
  return combine(operand.map((condition, index) => inspectObject(condition, `${path}.${index}`)));
}

function inspectObject(operand: unknown, path: string): Inspection {
  return isObject(operand) ? inspect(operand, path) : comparison(path, 'must be an object');
}

function comparison(path: string, message: string | undefined): Inspection {
  return { problems: message === undefined ? [] : [{ path, message }], count: 1 };
}

function combine(inspections: readonly Inspection[]): Inspection {
  return {
    problems: inspections.flatMap(({ problems }) => problems),
    count: inspections.reduce((sum, { count }) => sum + count, 0),
  };
}

function isComparisonOperator(name: string): name is keyof typeof OPERANDS {
  return Object.hasOwn(OPERANDS, name);
}

function problemOfNames(names: readonly string[]): string | undefined {
  if (names.length === 0) return 'must have at least one condition';
  const fields = names.filter((name) => !name.startsWith('$'));
  if (fields.length > 0 && names.some(isComparisonOperator))
    return 'must not have fields and comparing operators side by side';
  return fields.map(problemOfName).find((problem) => problem !== undefined);
}

function problemOfName(name: string): string | undefined {
  // The problem's path does not contain this name, because the path would be too long as well.
  if (name.length > MAX_NAME_LENGTH) return `must not have names of more than ${MAX_NAME_LENGTH} characters`;
  // In code that copies the filter, assigning this member would set the prototype.
  if (name === '__proto__') return 'must not have a member __proto__';
  return problemOfText(name);
}

function problemOfNameInLiteral(name: string): string | undefined {
  // The name is probably meant as an operator, and Prisma interprets `$type`.
  return name.startsWith('$') ? 'must not have operators inside a value' : problemOfName(name);
}

function problemOfText(text: string): string | undefined {
  // Postgres cannot store NUL or unpaired surrogates in text.
  return text.includes('\0') || !text.isWellFormed() ? 'must not contain NUL or half a surrogate pair' : undefined;
}

/** Checks any JSON value, including its members. */
function problemOfLiteral(value: unknown): string | undefined {
  if (typeof value === 'string') return problemOfText(value);
  // JSON.parse returns Infinity for a number that exceeds the range of a double.
  if (typeof value === 'number' && !Number.isFinite(value)) return NUMBER_TOO_LARGE;
  if (typeof value !== 'object' || value === null) return undefined;
  const names = Array.isArray(value) ? [] : Object.keys(value).map(problemOfNameInLiteral);
  return [...names, ...Object.values(value).map(problemOfLiteral)].find((problem) => problem !== undefined);
}

function problemOfList(operand: unknown): string | undefined {
  const isList = Array.isArray(operand) && operand.length > 0 && operand.length <= MAX_LIST_LENGTH;
  // Objects are not allowed, because they cannot be looked up in a set and would be compared one by one.
  if (!isList || operand.some((value) => typeof value === 'object' && value !== null)) {
    return `must be a list of 1 to ${MAX_LIST_LENGTH} strings, numbers, booleans or nulls`;
  }
  return problemOfLiteral(operand);
}

function problemOfComparable(operand: unknown): string | undefined {
  return typeof operand === 'number' || typeof operand === 'string'
    ? problemOfLiteral(operand)
    : 'must be a number or a string';
}
