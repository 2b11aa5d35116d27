import { uuid7, uuid7Time } from '../database/uuid7.ts';

/** The id of the delivery of an event (row) to a subscription: always the same, so that it is never made twice. */
export function deliveryId(eventRowId: string, subscriptionId: string): string {
  return uuid7(uuid7Time(eventRowId), `${eventRowId}:${subscriptionId}`);
}

/** The id of the delivery that a replay makes: one for each event and subscription, however often it comes across them. */
export function replayedDeliveryId(replayId: string, eventRowId: string, subscriptionId: string): string {
  return uuid7(uuid7Time(replayId), `${replayId}:${eventRowId}:${subscriptionId}`);
}
