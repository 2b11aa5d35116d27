import { Batcher } from '../../postgres/batcher.ts';
import type { Database } from '../../postgres/client.ts';
import { takeSendSlots } from './take-send-slots.ts';

/** How far ahead moments are given out. What would have to wait longer waits in Postgres. */
export const SLOT_HORIZON_MS = 1_000;
const MAX_BATCH = 1_000;

/** Asks Postgres, for many deliveries at a time, when rate limits let them be sent. */
export class SendSlots {
  readonly #batcher: Batcher<string, number | undefined>;

  constructor(database: Database) {
    this.#batcher = new Batcher({
      maxItems: MAX_BATCH,
      write: (ids) => takeSlots(database, ids),
    });
  }

  /** When to send, in milliseconds since 1970 by Postgres's clock; undefined if all moments of the next second are taken. */
  take(subscriptionId: string): Promise<number | undefined> {
    return this.#batcher.add(subscriptionId);
  }
}

async function takeSlots(database: Database, ids: readonly string[]): Promise<(number | undefined)[]> {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const requests = [...counts].map(([subscriptionId, count]) => ({ subscriptionId, count }));
  const slots = await takeSendSlots(database.pool, { requests, horizonMs: SLOT_HORIZON_MS });
  const now = database.clock.now();
  const used = new Map<string, number>();
  return ids.map((id) => {
    const slot = slots.get(id);
    const index = used.get(id) ?? 0;
    used.set(id, index + 1);
    return slot === undefined || index >= slot.count ? undefined : now + slot.firstInMs + index * slot.gapMs;
  });
}
