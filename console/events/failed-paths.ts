import { isObject } from '../ui/json-text.ts';
import { eventWords as words } from './messages.ts';

/** `filter.user.age.$gt` as `user.age $gt`: the path in the data, and the condition. */
export function conditionsOf(failedPaths: readonly string[]): readonly string[] {
  return failedPaths.map((path) => path.replace(/^filter\.?/, '').replace(/\.(\$\w+)$/, ' $1') || words.wholeFilter);
}

/**
 * The paths in the data to which failed conditions belong, as JsonView names them: `filter.user.age.$gt` belongs to `user.age`,
 * or to `user` if that has no `age`. The empty path is the data as a whole.
 */
export function failedPlaces(failedPaths: readonly string[], data: unknown): ReadonlySet<string> {
  return new Set(failedPaths.map((path) => placeIn(data, namesOf(path))));
}

/** The names of members on the way to the condition, without `$and.0`, and without `$or` and what is below it. */
function namesOf(path: string): readonly string[] {
  const names: string[] = [];
  const parts = path.split('.').slice(1);
  for (let index = 0; index < parts.length; index += 1) {
    const part = parts[index] ?? '';
    if (part === '$and') index += 1;
    else if (part.startsWith('$')) break;
    else names.push(part);
  }
  return names;
}

function placeIn(data: unknown, names: readonly string[]): string {
  const found: string[] = [];
  let value = data;
  for (const name of names) {
    if (!isObject(value) || !Object.hasOwn(value, name)) break;
    found.push(name);
    value = value[name];
  }
  return found.join('.');
}
