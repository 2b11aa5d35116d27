/**
 * How far the clocks apart may be that give ids: those of the senders, of the broker, and of Postgres. What belongs to a
 * row, or to a time, is looked for this much further than its own clock says.
 */
export const CLOCK_DRIFT_MS = 5 * 60_000;
