import type { Client, CombinedError } from 'urql';
import { MATCHES_EVERYTHING } from '../filter-playground/compare.ts';
import {
  DeliveredEventsDocument,
  PastEventsDocument,
  type SubscriptionSettingsFragment,
} from '../generated/graphql.ts';

export type MissedEvents = {
  /** Publishers' ids of events that match and have no delivery to the subscription, newest first. */
  readonly ids: readonly string[];
  /** The number of events that were examined. */
  readonly examined: number;
  /** The oldest of them, if older events can have been missed as well. */
  readonly oldest: { readonly id: string; readonly createdAt: string } | undefined;
};

/** Events that one query examines. */
const EVENTS = 200;
const NOT_CACHED = { requestPolicy: 'network-only' } as const;

/**
 * The events that a subscription would get with its present settings and did not get: it was inactive, or had another filter or other
 * event types. Examines the 200 latest events of its types, or those before `olderThan`; events from before the subscription were not missed.
 */
export async function findMissedEvents(
  client: Pick<Client, 'query'>,
  subscription: SubscriptionSettingsFragment,
  olderThan?: string,
): Promise<MissedEvents | CombinedError> {
  const { tenant, filter, eventTypes, createdAt } = subscription;
  const variables = {
    tenant,
    filter: filter ?? MATCHES_EVERYTHING,
    eventTypes,
    ...(olderThan !== undefined && { olderThan }),
  };
  const { data, error } = await client.query(PastEventsDocument, variables, NOT_CACHED).toPromise();
  if (data == null) return requireError(error);
  const results = data.testFilterOnEvents;
  const examined = results.filter(({ event }) => event.createdAt >= createdAt);
  const matching = examined.filter(({ matches }) => matches).map(({ event }) => event.id);
  const ids = await withoutDelivery(client, subscription, matching);
  if (!Array.isArray(ids)) return ids;
  const isAll = results.length < EVENTS || examined.length < results.length;
  return { ids, examined: examined.length, oldest: isAll ? undefined : examined.at(-1)?.event };
}

/** Those of the events that have no delivery to the subscription. A page can be full of replays of a few of them. */
async function withoutDelivery(
  client: Pick<Client, 'query'>,
  { id, tenant }: SubscriptionSettingsFragment,
  eventIds: readonly string[],
): Promise<string[] | CombinedError> {
  let open = [...eventIds];
  let hasMore = open.length > 0;
  while (hasMore) {
    const variables = { id, tenant, eventIds: open };
    const { data, error } = await client.query(DeliveredEventsDocument, variables, NOT_CACHED).toPromise();
    if (data == null) return requireError(error);
    const { nodes, pageInfo } = data.deliveries;
    const delivered = new Set(nodes.map(({ event }) => event?.id));
    const left = open.filter((eventId) => !delivered.has(eventId));
    hasMore = pageInfo.hasNextPage && left.length > 0 && left.length < open.length;
    open = left;
  }
  return open;
}

function requireError(error: CombinedError | undefined): CombinedError {
  if (error === undefined) throw new Error('a query without data has no error');
  return error;
}
