import { type Budget, compileFilter, compileValid, MAX_FILTER_STEPS, memberOf } from './payload-filter.ts';
import { isObject } from './filter-validation.ts';

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
