import { uuid7, uuid7Time } from '../lib/uuid7.ts';

/** The id of the delivery of an event (row) to a subscription: always the same, so that it is never made twice. */
export function deliveryId(eventRowId: string, subscriptionId: string): string {
  return uuid7(uuid7Time(eventRowId), `${eventRowId}:${subscriptionId}`);
}
