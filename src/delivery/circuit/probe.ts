import { DomainError } from '../../lib/errors.ts';
import { type Database, mutate } from '../../postgres/client.ts';
import { assertExists, type SubscriptionKey } from '../../subscriptions/service.ts';
import { requestProbe } from './store.ts';

/** The circuit is closed, so deliveries are sent without a probe. */
export class CircuitClosedError extends DomainError {
  readonly code = 'CIRCUIT_CLOSED';

  constructor() {
    super('the circuit of the webhook subscription is closed; its deliveries are sent');
  }
}

/**
 * Sends the next due delivery of an open circuit immediately, as a probe. Throws a CircuitClosedError, or a NotFoundError if
 * the subscription does not exist or belongs to another tenant.
 */
export async function probeNow(database: Pick<Database, 'pool' | 'recorder'>, key: SubscriptionKey): Promise<void> {
  await mutate(database, async (db) => {
    await assertExists(db, key);
    if (!(await requestProbe(db, key.id))) throw new CircuitClosedError();
  });
}
