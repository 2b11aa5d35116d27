import { DomainError, NotFoundError } from '../../lib/errors.ts';
import { isUuid } from '../../lib/uuid7.ts';
import type { Database, Queryable } from '../../postgres/client.ts';
import { requestProbe } from './store.ts';

/** The circuit is closed: deliveries are sent without a probe. */
export class CircuitClosedError extends DomainError {
  readonly code = 'CIRCUIT_CLOSED';

  constructor() {
    super('the circuit of the webhook subscription is closed; its deliveries are sent');
  }
}

/**
 * Sends the next due delivery of an open circuit at once, as a probe. Throws a NotFoundError or a CircuitClosedError; for a
 * tenant's caller, a subscription of another tenant is not found.
 */
export async function probeNow(
  { readPool }: Pick<Database, 'readPool'>,
  { id, tenant }: { readonly id: string; readonly tenant: string | undefined },
): Promise<void> {
  if (!isUuid(id) || !(await isKnown(readPool, { id, tenant }))) throw new NotFoundError('webhook subscription');
  if (!(await requestProbe(readPool, id))) throw new CircuitClosedError();
}

async function isKnown(
  db: Queryable,
  { id, tenant }: { readonly id: string; readonly tenant: string | undefined },
): Promise<boolean> {
  const { rows } = await db.query(
    `SELECT FROM webhook_subscriptions WHERE id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR tenant = $2)`,
    [id, tenant ?? null],
  );
  return rows.length > 0;
}
