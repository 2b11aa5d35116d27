import { isObject } from '../../lib/json.ts';
import { type Operator, validateFilter } from './filter-validation.ts';

/** Whether the value at a path of an event's data matches a condition. `found`: undefined if the data has no such member. */
type Condition = (found: unknown, budget: Budget) => boolean;

/** Remaining steps. A step is a condition, an element of an array, or a member of an object that is compared as a whole. */
type Budget = { left: number };

/** Maximum steps of one filter, about 10 ms. Without it, 100 conditions on 1 MB of small elements take 50 million steps. */
export const MAX_FILTER_STEPS = 100_000;

export type CompiledFilter = (data: unknown, budget?: Budget) => boolean;

/**
 * Compiles a filter to a function of an event's data, under the rules of docs/payload-filters.md. The function never throws,
 * and returns false when its budget is exhausted. By default each call has a separate budget of the same size, so that a
 * result does not depend on other filters. An invalid filter matches nothing, because an error would block the dispatcher.
 */
export function compileFilter(filter: unknown): CompiledFilter {
  if (validateFilter(filter).length > 0) return () => false;
  return compileValid(filter);
}

/** Compiles a valid filter, or a part of one, to a function of the value at its path. */
function compileValid(part: unknown): CompiledFilter {
  const condition = compileCondition(part);
  return (found, budget = { left: MAX_FILTER_STEPS }) => condition(found, budget) && budget.left >= 0;
}

/** The value of a member; undefined if there is no such member. Inherited properties are not members. */
function memberOf(found: unknown, name: string): unknown {
  return isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined;
}

function compileCondition(condition: unknown): Condition {
  if (!isObject(condition)) return isEqualTo(condition);
  const all = allOf(Object.entries(condition).map(([name, operand]) => compilePart(name, operand)));
  return Object.keys(condition).every(isOperator) ? all : ofElements(all);
}

/** In an array, all fields must match in the same element. */
function ofElements(all: Condition): Condition {
  const ofElement: Condition = (element, budget) => isObject(element) && all(element, budget);
  return (found, budget) => (Array.isArray(found) ? hasElement(found, { budget, ofElement }) : all(found, budget));
}

function compilePart(name: string, operand: unknown): Condition {
  if (isOperator(name)) return OPERATORS[name](operand);
  const condition = compileCondition(operand);
  return (found, budget) => takeStep(budget) && condition(memberOf(found, name), budget);
}

/** Takes a step; false if the budget is exhausted. Every condition that is evaluated for each element takes one. */
function takeStep(budget: Budget): boolean {
  budget.left -= 1;
  return budget.left >= 0;
}

/** Comparing two strings takes a step for every 16 characters. */
function takeStepsForText(text: string, budget: Budget): void {
  budget.left -= text.length >> 4;
}

const OPERATORS: Readonly<Record<Operator, (operand: unknown) => Condition>> = {
  $eq: isEqualTo,
  $ne: (operand) => not(isEqualTo(operand)),
  $in: isOneOf,
  $nin: (operand) => not(isOneOf(operand)),
  $gt: (operand) => compares(operand, (order) => order > 0),
  $gte: (operand) => compares(operand, (order) => order >= 0),
  $lt: (operand) => compares(operand, (order) => order < 0),
  $lte: (operand) => compares(operand, (order) => order <= 0),
  $startsWith: (operand) => startsWith(String(operand)),
  $exists: (operand) => (found, budget) => takeStep(budget) && (found !== undefined) === operand,
  $and: (operand) => allOf(compileList(operand)),
  $or: (operand) => {
    const conditions = compileList(operand);
    return (found, budget) => takeStep(budget) && conditions.some((condition) => condition(found, budget));
  },
  $not: (operand) => not(compileCondition(operand)),
};

function isOperator(name: string): name is Operator {
  return Object.hasOwn(OPERATORS, name);
}

function compileList(operand: unknown): Condition[] {
  return Array.isArray(operand) ? operand.map(compileCondition) : [];
}

function allOf(conditions: readonly Condition[]): Condition {
  const [first] = conditions;
  // Most lists have one condition. Omitting the closure saves memory, because the dispatcher caches many filters.
  if (first !== undefined && conditions.length === 1) return first;
  return (found, budget) => conditions.every((condition) => condition(found, budget));
}

function not(condition: Condition): Condition {
  return (found, budget) => takeStep(budget) && !condition(found, budget);
}

function startsWith(operand: string): Condition {
  return valueOrElement((found, budget) => {
    if (typeof found !== 'string') return false;
    takeStepsForText(operand, budget);
    return found.startsWith(operand);
  });
}

function isOneOf(operand: unknown): Condition {
  const values = new Set<unknown>(Array.isArray(operand) ? operand : []);
  return valueOrElement((found) => values.has(found));
}

function isEqualTo(operand: unknown): Condition {
  return valueOrElement((found, budget) => equals(operand, { found, budget }));
}

/** Compares numbers with numbers and strings with strings (by UTF-16 code units); other pairs do not match. */
function compares(operand: unknown, matches: (order: number) => boolean): Condition {
  return valueOrElement((found, budget) => {
    if (typeof found === 'number' && typeof operand === 'number') return matches(found - operand);
    if (typeof found !== 'string' || typeof operand !== 'string') return false;
    takeStepsForText(operand, budget);
    return matches(found < operand ? -1 : Number(found > operand));
  });
}

function valueOrElement(ofElement: Condition): Condition {
  return (found, budget) =>
    takeStep(budget) &&
    (ofElement(found, budget) || (Array.isArray(found) && hasElement(found, { budget, ofElement })));
}

function hasElement(
  found: readonly unknown[],
  { budget, ofElement }: { readonly budget: Budget; readonly ofElement: Condition },
): boolean {
  for (const element of found) {
    if (!takeStep(budget)) return false;
    if (ofElement(element, budget)) return true;
  }
  return false;
}

/** Deep equality. The recursion is at most as deep as the operand. */
function equals(operand: unknown, { found, budget }: { readonly found: unknown; readonly budget: Budget }): boolean {
  if (Array.isArray(operand)) {
    if (!Array.isArray(found) || found.length !== operand.length || budget.left < 0) return false;
    budget.left -= found.length;
    return operand.every((value, index) => equals(value, { found: found[index], budget }));
  }
  if (typeof operand === 'string' && typeof found === 'string') takeStepsForText(operand, budget);
  if (!isObject(operand)) return operand === found;
  if (!isObject(found) || budget.left < 0) return false;
  const names = Object.keys(found);
  budget.left -= names.length;
  if (names.length !== Object.keys(operand).length) return false;
  return names.every((name) => Object.hasOwn(operand, name) && equals(operand[name], { found: found[name], budget }));
}

/**
 * The paths of the conditions of a valid filter that an event's data does not match; empty if the filter matches. A path
 * leads to the innermost condition that fails by itself: `filter.user.age.$gt`, but `filter.$or` as a whole, and conditions
 * on the elements of an array as a whole. If the budget is exhausted, the condition that exhausted it is the last.
 */
export function failedPaths(filter: unknown, data: unknown): string[] {
  if (compileFilter(filter)(data)) return [];
  const failed = failures(filter, { found: data, path: 'filter', budget: { left: MAX_FILTER_STEPS } });
  return failed.length > 0 ? failed : ['filter'];
}

type Location = { readonly found: unknown; readonly path: string; readonly budget: Budget };

function failures(condition: unknown, { found, path, budget }: Location): string[] {
  if (!isObject(condition) || (Array.isArray(found) && hasFields(condition))) {
    return failureOf(condition, { found, path, budget });
  }
  return Object.entries(condition).flatMap(([name, operand]) => {
    const location = { found, path: `${path}.${name}`, budget };
    if (!name.startsWith('$')) {
      budget.left -= 1;
      return failures(operand, { ...location, found: memberOf(found, name) });
    }
    if (name !== '$and' || !Array.isArray(operand)) return failureOf({ [name]: operand }, location);
    return operand.flatMap((part, index) => failures(part, { found, path: `${location.path}.${index}`, budget }));
  });
}

function failureOf(condition: unknown, { found, path, budget }: Location): string[] {
  const isExhausted = budget.left < 0;
  return isExhausted || compileValid(condition)(found, budget) ? [] : [path];
}

function hasFields(condition: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(condition).some((name) => !name.startsWith('$'));
}
