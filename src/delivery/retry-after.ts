const DELAY_SECONDS = /^\d+$/;
/**
 * The three forms of an HTTP-date (RFC 9110 5.6.7): IMF-fixdate, that of RFC 850, and asctime's, which says no zone but
 * means GMT. Date.parse alone takes nearly anything for a date, and asctime's for local time.
 */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4}|[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2}) [\d:]{8} GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4}$/;

/**
 * How long `Retry-After` (RFC 9110 10.2.3) asks to wait from `nowMs` on, in milliseconds, unbounded; undefined if it is
 * missing, asks for nothing, names a time that has passed, or is neither seconds nor a date.
 */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  const waitMs = DELAY_SECONDS.test(text) ? Number(text) * 1_000 : dateOf(text) - nowMs;
  return waitMs > 0 ? waitMs : undefined;
}

/** NaN for what is no date. */
function dateOf(text: string): number {
  if (ASCTIME_DATE.test(text)) return Date.parse(`${text} GMT`);
  return HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN;
}
