/** The names of the changed settings of an entry, in one line. */
export function changedNames(before: unknown, after: unknown): string {
  return [...new Set([...namesOf(before), ...namesOf(after)])].join(', ');
}

/** Settings as lines to compare, sorted by their names; empty if there are none. */
export function settingsText(settings: unknown): string {
  const names = namesOf(settings).toSorted();
  if (names.length === 0) return '';
  // `as`: settings are a JSON object.
  const values = settings as Record<string, unknown>;
  return names.map((name) => `${name}: ${JSON.stringify(values[name], undefined, 2)}`).join('\n');
}

function namesOf(settings: unknown): string[] {
  return typeof settings === 'object' && settings !== null && !Array.isArray(settings) ? Object.keys(settings) : [];
}
