import { pauseQueue, resumeQueue } from '../delivery/queue/state.ts';
import { InvalidInputError } from '../lib/errors.ts';
import { type Database, mutate } from '../postgres/client.ts';
import { assertExists, type SubscriptionKey } from './service.ts';

/**
 * Maximum length of a pause in days, and the length of a pause without a given end. It bounds the backlog, because pending
 * deliveries and their events are kept regardless of their age.
 */
export const MAX_PAUSE_DAYS = 30;
const DAY_MS = 86_400_000;

type Pause = SubscriptionKey & {
  /** Undefined: in MAX_PAUSE_DAYS. */
  readonly until: Date | undefined;
};

/**
 * Pauses a webhook subscription, or changes the end of its pause. During a pause deliveries are created and stay queued.
 * Throws NotFoundError or InvalidInputError.
 */
export async function pauseWebhookSubscription(
  database: Pick<Database, 'pool' | 'clock' | 'recorder'>,
  { until, ...key }: Pause,
): Promise<void> {
  const now = database.clock.now();
  const latest = now + MAX_PAUSE_DAYS * DAY_MS;
  const end = until?.getTime() ?? latest;
  if (end <= now || end > latest) {
    const message = `must be in the future, at most ${MAX_PAUSE_DAYS} days from now`;
    throw new InvalidInputError([{ path: 'until', message }]);
  }
  await mutate(database, async (db) => {
    await assertExists(db, key);
    await pauseQueue(db, { subscriptionId: key.id, until: new Date(end) });
  });
}

/** Ends the pause of a webhook subscription, if it is paused. Throws NotFoundError. */
export async function resumeWebhookSubscription(
  database: Pick<Database, 'pool' | 'recorder'>,
  key: SubscriptionKey,
): Promise<void> {
  await mutate(database, async (db) => {
    await assertExists(db, key);
    await resumeQueue(db, key.id);
  });
}
