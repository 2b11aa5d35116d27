import type { InputProblem } from '../graphql/use-action.ts';

/** Whether a problem is that of the field at `path` or of a part of it: `headers.0.name` is at `headers`. */
export function isAt(problem: InputProblem, path: string): boolean {
  return problem.path === path || problem.path.startsWith(`${path}.`);
}

/**
 * The part of a field that a problem is about; empty: all of it. A place in a JSON text is a path, and an entry of a list is
 * the entry itself, because its index means nothing to the person who typed it.
 */
export function partOf(problem: InputProblem, path: string, entries: readonly string[] = []): string {
  const below = problem.path.slice(path.length + 1);
  return (/^\d+$/.test(below) ? entries[Number(below)] : undefined) ?? below;
}

/** The entries of a list that is typed as one text, separated by commas, spaces or line breaks. */
export function listed(text: string): string[] {
  return text.split(/[\s,]+/).filter((entry) => entry !== '');
}
