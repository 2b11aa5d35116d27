/** Up to so many milliseconds a class is one of them. */
const EXACT_MS = 10;
/** Each class beyond is so much wider than the one before; whoever takes its middle is off by 4.5 % at most. */
const GROWTH = 1.09;

/** SQL for the class of a response time, a column of whole milliseconds. */
export function responseClassSql(column: string): string {
  return `(CASE WHEN ${column} <= ${EXACT_MS} THEN ${column}
    ELSE ${EXACT_MS} + ceil(ln(${column}::float8 / ${EXACT_MS}) / ln(${GROWTH}::float8)) END)::smallint`;
}

/** The response time that stands for a class, in milliseconds with one decimal. */
export function responseTimeOf(responseClass: number): number {
  if (responseClass <= EXACT_MS) return responseClass;
  return Math.round(10 * EXACT_MS * GROWTH ** (responseClass - EXACT_MS - 0.5)) / 10;
}
