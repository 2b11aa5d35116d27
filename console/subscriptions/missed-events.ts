import type { MissedEventsQuery } from '../generated/graphql.ts';

type Missed = {
  /** Publishers' ids of events that match and have no delivery to the subscription, newest first. */
  readonly ids: readonly string[];
  /** The number of events that were examined. */
  readonly examined: number;
};

/**
 * The events that a subscription would get with its present settings and did not get: it was inactive, or had another filter or other
 * event types. Events from before the subscription were not missed, and older ones than the deliveries that were read are not examined.
 */
export function missedEvents(
  { testFilterOnEvents: results, deliveries }: MissedEventsQuery,
  subscription: { readonly createdAt: string },
): Missed {
  const delivered = new Set(deliveries.nodes.map(({ event }) => event?.id));
  const oldestRead = deliveries.pageInfo.hasNextPage ? (deliveries.nodes.at(-1)?.createdAt ?? '') : '';
  const examined = results.filter(
    ({ event: { createdAt } }) => createdAt >= subscription.createdAt && createdAt > oldestRead,
  );
  const missed = examined.filter(({ matches, event }) => matches && !delivered.has(event.id));
  return { ids: missed.map(({ event }) => event.id), examined: examined.length };
}
