/** `note` counts, and returns the occurrences since the last report, or undefined if that was a moment ago. */
export type Seldom = { readonly note: () => number | undefined; readonly reset: () => void };

/**
 * For a line of the log that could come thousands of times: `note` counts, and returns the count the first time and then
 * at most once in `intervalMs`.
 */
export function seldom(intervalMs: number, now: () => number = Date.now): Seldom {
  let count = 0;
  let saidAt = Number.NEGATIVE_INFINITY;
  return {
    note: () => {
      count += 1;
      if (now() - saidAt < intervalMs) return undefined;
      const noted = count;
      count = 0;
      saidAt = now();
      return noted;
    },
    reset: () => {
      count = 0;
      saidAt = Number.NEGATIVE_INFINITY;
    },
  };
}
