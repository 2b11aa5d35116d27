export type DiffLine = { readonly kind: 'same' | 'removed' | 'added'; readonly text: string };

/** Bounds the time: above, all changed lines are removed, then added. */
const MAX_CELLS = 1_000_000;

/** The lines of both texts in their order, with as few changes as possible. */
export function lineDiff(before: string, after: string): readonly DiffLine[] {
  const [old, current] = [split(before), split(after)];
  let start = 0;
  while (start < old.length && start < current.length && old[start] === current[start]) start += 1;
  let end = 0;
  const shortest = Math.min(old.length, current.length) - start;
  while (end < shortest && old.at(-1 - end) === current.at(-1 - end)) end += 1;
  return [
    ...linesOf('same', old.slice(0, start)),
    ...changesBetween(old.slice(start, old.length - end), current.slice(start, current.length - end)),
    ...linesOf('same', old.slice(old.length - end)),
  ];
}

/** An empty text has no line. */
function split(text: string): readonly string[] {
  return text === '' ? [] : text.split('\n');
}

function linesOf(kind: DiffLine['kind'], texts: readonly string[]): DiffLine[] {
  return texts.map((text) => ({ kind, text }));
}

function changesBetween(old: readonly string[], current: readonly string[]): DiffLine[] {
  if (old.length * current.length > MAX_CELLS) return [...linesOf('removed', old), ...linesOf('added', current)];
  const width = current.length + 1;
  // Length of the longest common part of the lines from a row and a column on.
  const common = new Uint32Array((old.length + 1) * width);
  const at = (row: number, column: number) => common[row * width + column] ?? 0;
  for (let row = old.length - 1; row >= 0; row -= 1) {
    for (let column = current.length - 1; column >= 0; column -= 1) {
      common[row * width + column] =
        old[row] === current[column] ? at(row + 1, column + 1) + 1 : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const lines: DiffLine[] = [];
  let [row, column] = [0, 0];
  while (row < old.length || column < current.length) {
    const [before = '', after = ''] = [old[row], current[column]];
    if (row < old.length && column < current.length && before === after) {
      lines.push({ kind: 'same', text: before });
      row += 1;
      column += 1;
    } else if (column >= current.length || (row < old.length && at(row + 1, column) >= at(row, column + 1))) {
      lines.push({ kind: 'removed', text: before });
      row += 1;
    } else {
      lines.push({ kind: 'added', text: after });
      column += 1;
    }
  }
  return lines;
}
