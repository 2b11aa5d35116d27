import type { Logger } from 'pino';
import type { Database } from '../database/client.ts';
import { transaction } from '../database/transaction.ts';
import type { EventBus } from './event-bus.ts';
import { publishOrWait } from './publish-deliveries.ts';
import { recordEvent } from './record-event.ts';

export type TestEvent = {
  readonly subscriptionId: string;
  readonly tenant: string;
  readonly eventType: string;
  /** JSON. */
  readonly data: string;
};

/** Records an event for this one subscription, whatever types it wants, and enqueues its delivery, whose id it returns. */
export async function sendTestEvent(
  services: { readonly database: Database; readonly bus: EventBus; readonly log: Logger },
  { subscriptionId, tenant, eventType, data }: TestEvent,
): Promise<string> {
  const { database, bus } = services;
  const event = { tenant, type: eventType, data, subscriptionIds: [subscriptionId] };
  const options = { maxDataBytes: bus.maxInlineDataBytes, isTest: true };
  const [message] = await transaction(database.pool, (db) => recordEvent(db, event, options));
  if (message === undefined) throw new Error(`no delivery was made for webhook subscription ${subscriptionId}`);
  await publishOrWait(services, [message]);
  return message.deliveryId;
}
