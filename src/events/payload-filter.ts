import { isObject, type Operator, validateFilter } from './payload-filter-problems.ts';

/**
 * Whether what is found at some place of an event's data fulfils a condition; undefined is what is missing, which JSON
 * itself cannot say.
 */
type Condition = (found: unknown, budget: Budget) => boolean;

/** How many elements of arrays, and members of objects compared as a whole, may still be looked at. */
type Budget = { left: number };

/**
 * An event is matched with each of its tenant's subscriptions, and 100 conditions on a megabyte of small elements would
 * be some 50 million comparisons.
 */
const MAX_LOOKED_AT = 100_000;

/**
 * The filter as a function of an event's data; docs/payload-filters.md says what it means. It never throws, and does not
 * hold where it would have to look at more than 100,000 elements. What is no valid filter holds for nothing: an error in
 * the dispatcher would hold up everybody's events.
 */
export function compileFilter(filter: unknown): (data: unknown) => boolean {
  if (validateFilter(filter).length > 0) return () => false;
  const condition = compileCondition(filter);
  return (data) => fulfils(data, condition);
}

/** The same for a part of a valid filter, and what is found at its place. */
export function holdsFor(part: unknown, found: unknown): boolean {
  return fulfils(found, compileCondition(part));
}

/** Undefined if there is no such member; what every object inherits is not in its data. */
export function memberOf(found: unknown, name: string): unknown {
  return isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined;
}

function fulfils(found: unknown, condition: Condition): boolean {
  const budget = { left: MAX_LOOKED_AT };
  return condition(found, budget) && budget.left >= 0;
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
  return (found, budget) => condition(memberOf(found, name), budget);
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
  $startsWith: (operand) => itOrAnElement((found) => typeof found === 'string' && found.startsWith(String(operand))),
  $exists: (operand) => (found) => (found !== undefined) === operand,
  $and: (operand) => allOf(compileList(operand)),
  $or: (operand) => {
    const conditions = compileList(operand);
    return (found, budget) => conditions.some((condition) => condition(found, budget));
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
  return (found, budget) => !condition(found, budget);
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
  return itOrAnElement((found) => {
    if (typeof found === 'number' && typeof operand === 'number') return isWanted(found - operand);
    if (typeof found !== 'string' || typeof operand !== 'string') return false;
    return isWanted(found < operand ? -1 : Number(found > operand));
  });
}

function itOrAnElement(ofElement: Condition): Condition {
  return (found, budget) =>
    ofElement(found, budget) || (Array.isArray(found) && hasElement(found, { budget, ofElement }));
}

function hasElement(
  found: readonly unknown[],
  { budget, ofElement }: { readonly budget: Budget; readonly ofElement: Condition },
): boolean {
  for (const element of found) {
    budget.left -= 1;
    if (budget.left < 0) return false;
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
  if (!isObject(operand)) return operand === found;
  if (!isObject(found) || budget.left < 0) return false;
  const names = Object.keys(found);
  budget.left -= names.length;
  if (names.length !== Object.keys(operand).length) return false;
  return names.every((name) => Object.hasOwn(operand, name) && equals(operand[name], { found: found[name], budget }));
}
