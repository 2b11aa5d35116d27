import { membersOf } from '../ui/json-text.ts';

/** The names of the changed settings of an entry, in one line. */
export function changedNames(before: unknown, after: unknown): string {
  return [...new Set([before, after].flatMap((settings) => Object.keys(membersOf(settings))))].join(', ');
}

/** Settings as lines to compare, sorted by their names; empty if there are none. */
export function settingsText(settings: unknown): string {
  const values = membersOf(settings);
  const names = Object.keys(values).toSorted();
  return names.map((name) => `${name}: ${JSON.stringify(values[name], undefined, 2)}`).join('\n');
}
