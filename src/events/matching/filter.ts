import { isObject, type Operator, validateFilter } from './filter-validation.ts';

/**
 * Whether what is found at some place of an event's data fulfils a condition; undefined is what is missing, which JSON
 * itself cannot say.
 */
type Condition = (found: unknown, budget: Budget) => boolean;

/** How many steps may still be made: each condition, element of an array, or member of an object compared as a whole. */
type Budget = { left: number };

/** Some 10 ms at most. 100 conditions on a megabyte of small elements would be 50 million steps. */
export const MAX_FILTER_STEPS = 100_000;

export type CompiledFilter = (data: unknown, budget?: Budget) => boolean;

/**
 * The filter as a function of an event's data; docs/payload-filters.md says what it means. It never throws, and does not
 * hold where it would take more steps than its budget has (by default one of its own, the same for every event: whether
 * a filter holds must not depend on others). What is no valid filter holds for nothing: an error in the dispatcher would
 * hold up everybody's events.
 */
export function compileFilter(filter: unknown): CompiledFilter {
  if (validateFilter(filter).length > 0) return () => false;
  return compileValid(filter);
}

/** The same for a valid filter or a part of one, and what is found at its place. */
function compileValid(part: unknown): CompiledFilter {
  const condition = compileCondition(part);
  return (found, budget = { left: MAX_FILTER_STEPS }) => condition(found, budget) && budget.left >= 0;
}

/** Undefined if there is no such member; what every object inherits is not in its data. */
function memberOf(found: unknown, name: string): unknown {
  return isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined;
}

function compileCondition(condition: unknown): Condition {
  if (!isObject(condition)) return isEqualTo(condition);
  const all = allOf(Object.entries(condition).map(([name, operand]) => compilePart(name, operand)));
  return Object.keys(condition).every(isOperator) ? all : ofElements(all);
}

/** Fields stand for fields of one and the same element of an array. */
function ofElements(all: Condition): Condition {
  const ofElement: Condition = (element, budget) => isObject(element) && all(element, budget);
  return (found, budget) => (Array.isArray(found) ? hasElement(found, { budget, ofElement }) : all(found, budget));
}

function compilePart(name: string, operand: unknown): Condition {
  if (isOperator(name)) return OPERATORS[name](operand);
  const condition = compileCondition(operand);
  return (found, budget) => mayStep(budget) && condition(memberOf(found, name), budget);
}

/** Every condition that can be evaluated once for each element takes a step. */
function mayStep(budget: Budget): boolean {
  budget.left -= 1;
  return budget.left >= 0;
}

/** Two strings are compared in more steps the longer they are. */
function payForText(text: string, budget: Budget): void {
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
  $exists: (operand) => (found, budget) => mayStep(budget) && (found !== undefined) === operand,
  $and: (operand) => allOf(compileList(operand)),
  $or: (operand) => {
    const conditions = compileList(operand);
    return (found, budget) => mayStep(budget) && conditions.some((condition) => condition(found, budget));
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
  // Most filters are made of ones; the dispatcher remembers many of them.
  if (first !== undefined && conditions.length === 1) return first;
  return (found, budget) => conditions.every((condition) => condition(found, budget));
}

function not(condition: Condition): Condition {
  return (found, budget) => mayStep(budget) && !condition(found, budget);
}

function startsWith(operand: string): Condition {
  return itOrAnElement((found, budget) => {
    if (typeof found !== 'string') return false;
    payForText(operand, budget);
    return found.startsWith(operand);
  });
}

function isOneOf(operand: unknown): Condition {
  const values = new Set<unknown>(Array.isArray(operand) ? operand : []);
  return itOrAnElement((found) => values.has(found));
}

function isEqualTo(operand: unknown): Condition {
  return itOrAnElement((found, budget) => equals(operand, { found, budget }));
}

/** Numbers with numbers, strings with strings by their UTF-16 code units, and nothing else. */
function compares(operand: unknown, isWanted: (order: number) => boolean): Condition {
  return itOrAnElement((found, budget) => {
    if (typeof found === 'number' && typeof operand === 'number') return isWanted(found - operand);
    if (typeof found !== 'string' || typeof operand !== 'string') return false;
    payForText(operand, budget);
    return isWanted(found < operand ? -1 : Number(found > operand));
  });
}

function itOrAnElement(ofElement: Condition): Condition {
  return (found, budget) =>
    mayStep(budget) && (ofElement(found, budget) || (Array.isArray(found) && hasElement(found, { budget, ofElement })));
}

function hasElement(
  found: readonly unknown[],
  { budget, ofElement }: { readonly budget: Budget; readonly ofElement: Condition },
): boolean {
  for (const element of found) {
    if (!mayStep(budget)) return false;
    if (ofElement(element, budget)) return true;
  }
  return false;
}

/** Goes no deeper than the operand, whatever the data. */
function equals(operand: unknown, { found, budget }: { readonly found: unknown; readonly budget: Budget }): boolean {
  if (Array.isArray(operand)) {
    if (!Array.isArray(found) || found.length !== operand.length || budget.left < 0) return false;
    budget.left -= found.length;
    return operand.every((value, index) => equals(value, { found: found[index], budget }));
  }
  if (typeof operand === 'string' && typeof found === 'string') payForText(operand, budget);
  if (!isObject(operand)) return operand === found;
  if (!isObject(found) || budget.left < 0) return false;
  const names = Object.keys(found);
  budget.left -= names.length;
  if (names.length !== Object.keys(operand).length) return false;
  return names.every((name) => Object.hasOwn(operand, name) && equals(operand[name], { found: found[name], budget }));
}

/**
 * Which conditions of a valid filter are not met by an event's data: none if it holds. As deep as one can be named that
 * fails by itself: `filter.user.age.$gt`, but `filter.$or` as a whole, and what is asked of the elements of an array. If
 * to look at all of them takes too many steps, the one at which they are used up is the last that is named.
 */
export function failedPaths(filter: unknown, data: unknown): string[] {
  if (compileFilter(filter)(data)) return [];
  const failed = failures(filter, { found: data, path: 'filter', budget: { left: MAX_FILTER_STEPS } });
  return failed.length > 0 ? failed : ['filter'];
}

type Place = { readonly found: unknown; readonly path: string; readonly budget: Budget };

function failures(condition: unknown, { found, path, budget }: Place): string[] {
  if (!isObject(condition) || (Array.isArray(found) && hasFields(condition))) {
    return failureOf(condition, { found, path, budget });
  }
  return Object.entries(condition).flatMap(([name, operand]) => {
    const place = { found, path: `${path}.${name}`, budget };
    if (!name.startsWith('$')) {
      budget.left -= 1;
      return failures(operand, { ...place, found: memberOf(found, name) });
    }
    if (name !== '$and' || !Array.isArray(operand)) return failureOf({ [name]: operand }, place);
    return operand.flatMap((part, index) => failures(part, { found, path: `${place.path}.${index}`, budget }));
  });
}

function failureOf(condition: unknown, { found, path, budget }: Place): string[] {
  const isOver = budget.left < 0;
  return isOver || compileValid(condition)(found, budget) ? [] : [path];
}

function hasFields(condition: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(condition).some((name) => !name.startsWith('$'));
}
