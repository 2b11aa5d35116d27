/** Splits a list at its commas, trims the items, and omits empty ones. */
export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

const MAX_MATCHES = 3;
const MAX_DISTANCE = 2;
/** Characters. Longer names are compared only without case and separators: the time of the edit distance is quadratic. */
const MAX_LENGTH = 64;

/**
 * Suggests up to three names that may have been meant, the closest first: up to two letters differ, or only case and
 * separators.
 */
export function closeMatches(text: string, names: readonly string[]): string[] {
  const plainText = plain(text);
  const ranked = names.flatMap((name) => {
    const distance = plain(name) === plainText ? 0 : editDistance(text, name);
    return distance <= MAX_DISTANCE ? [{ name, distance }] : [];
  });
  return ranked
    .sort((left, right) => left.distance - right.distance)
    .slice(0, MAX_MATCHES)
    .map(({ name }) => name);
}

/** `CONVERSATION_CREATED` and `conversation.created` become the same text. */
function plain(name: string): string {
  return name.toLowerCase().replace(/[._-]/g, '');
}

/** The Levenshtein distance: the number of letters to add, remove or replace; infinite if it exceeds MAX_DISTANCE. */
function editDistance(left: string, right: string): number {
  const isFar = Math.abs(left.length - right.length) > MAX_DISTANCE;
  if (isFar || left.length > MAX_LENGTH) return Number.POSITIVE_INFINITY;
  const far = MAX_DISTANCE + 1;
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 0; row < left.length; row += 1) {
    const current = Array<number>(right.length + 1).fill(far);
    current[0] = row + 1;
    // Columns further from the diagonal exceed the maximum distance.
    const end = Math.min(right.length, row + far);
    for (let column = Math.max(0, row - MAX_DISTANCE); column < end; column += 1) {
      const [above = far, diagonal = far, before = far] = [previous[column + 1], previous[column], current[column]];
      current[column + 1] = Math.min(above + 1, before + 1, diagonal + (left[row] === right[column] ? 0 : 1));
    }
    if (Math.min(...current) >= far) return Number.POSITIVE_INFINITY;
    previous = current;
  }
  return previous[right.length] ?? Number.POSITIVE_INFINITY;
}
