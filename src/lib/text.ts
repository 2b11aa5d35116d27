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

/** Elements of a row: the distances that are at most MAX_DISTANCE columns from the diagonal. The others are larger. */
const BAND = 2 * MAX_DISTANCE + 1;
/** More than MAX_DISTANCE, also after additions. */
const FAR = 2 * BAND;

/**
 * The Levenshtein distance: the number of letters to add, remove or replace; at least FAR if it exceeds MAX_DISTANCE.
 * Thousands of names are compared in one turn of the event loop, so that this allocates nothing for a letter.
 */
function editDistance(left: string, right: string): number {
  const difference = right.length - left.length;
  if (Math.abs(difference) > MAX_DISTANCE || left.length > MAX_LENGTH) return FAR;
  // Element `index` is that of `row` letters of `left` and `row + index - MAX_DISTANCE` letters of `right`. A row replaces
  // the one before it from left to right.
  const distances = new Uint8Array(BAND + 1).fill(FAR);
  for (let letters = 0; letters <= MAX_DISTANCE; letters += 1) distances[MAX_DISTANCE + letters] = letters;
  for (let row = 1; row <= left.length; row += 1) {
    const letter = left.charCodeAt(row - 1);
    let before = FAR;
    let least = FAR;
    for (let index = 0; index < BAND; index += 1) {
      const column = row + index - MAX_DISTANCE;
      const diagonal = distances[index] ?? FAR;
      const above = distances[index + 1] ?? FAR;
      if (column > 0)
        before = Math.min(diagonal + (letter === right.charCodeAt(column - 1) ? 0 : 1), above + 1, before + 1);
      else before = column === 0 ? row : FAR;
      distances[index] = before;
      least = Math.min(least, before);
    }
    if (least > MAX_DISTANCE) return FAR;
  }
  return distances[difference + MAX_DISTANCE] ?? FAR;
}
