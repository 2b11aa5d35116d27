import { holdsFor, memberOf } from './payload-filter.ts';
import { isObject } from './payload-filter-problems.ts';

/**
 * Which conditions of a valid filter are not met by an event's data: none if it holds. As deep as one can be named that
 * fails by itself: `filter.user.age.$gt`, but `filter.$or` as a whole, and what is asked of the elements of an array.
 */
export function failedPaths(filter: unknown, data: unknown): string[] {
  return failures(filter, { found: data, path: 'filter' });
}

type Place = { readonly found: unknown; readonly path: string };

function failures(condition: unknown, { found, path }: Place): string[] {
  if (holdsFor(condition, found)) return [];
  if (!isObject(condition) || (Array.isArray(found) && hasFields(condition))) return [path];
  const parts = Object.entries(condition).flatMap(([name, operand]) => {
    const place = { found, path: `${path}.${name}` };
    if (!name.startsWith('$')) return failures(operand, { ...place, found: memberOf(found, name) });
    if (name === '$and' && Array.isArray(operand)) {
      return operand.flatMap((part, index) => failures(part, { found, path: `${place.path}.${index}` }));
    }
    return holdsFor({ [name]: operand }, found) ? [] : [place.path];
  });
  // Each part may hold while together they look at too much.
  return parts.length > 0 ? parts : [path];
}

function hasFields(condition: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(condition).some((name) => !name.startsWith('$'));
}
