const FIRST_MS = 30_000;
const MAX_MS = 3_600_000;

/**
 * How long an event that Postgres refuses waits before it is tried again, behind the others: twice as long each time, up
 * to an hour, because each try costs its batch, and itself, up to a statement's time-out. `deliveryCount`: how often
 * JetStream has delivered it, from 1.
 */
export function refusedDelayMs(deliveryCount: number): number {
  return Math.min(MAX_MS, FIRST_MS * 2 ** (deliveryCount - 1));
}
