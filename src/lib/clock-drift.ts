import { uuid7Floor, uuid7Time } from './uuid7.ts';

/**
 * How far the clocks may be apart that give ids: those of the senders, of the broker, and of Postgres. What belongs to a
 * row, or to a time, is looked for this much further than its own clock says.
 */
export const CLOCK_DRIFT_MS = 5 * 60_000;

/** The least id that what belongs to this row, and was made after it, can have. */
export function leastChildId(parentId: string): string {
  return uuid7Floor(uuid7Time(parentId) - CLOCK_DRIFT_MS);
}
