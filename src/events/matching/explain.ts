import { GREATEST_UUID, LEAST_UUID, leastChildId } from '../../lib/uuid7.ts';
import type { Queryable } from '../../postgres/client.ts';
import { matchesPattern } from '../event-type.ts';

/** Why an event was or was not delivered to a webhook subscription. */
export type MatchResult = 'DELIVERED_TO' | 'INACTIVE' | 'TYPE_MISMATCH' | 'FILTER_FALSE' | 'DATA_REDACTED';

type MatchedEvent = {
  readonly type: string;
  /** Undefined if the data was redacted. */
  readonly fulfils: (filter: unknown) => Promise<boolean | undefined>;
};

/** Repeats the decision of SubscriptionIndex with these settings. Evaluates the filter only if the result depends on it. */
export async function explainMatch(
  { isActive, eventTypes, filter, isSkipped }: MatchingSettings,
  event: MatchedEvent,
): Promise<MatchResult> {
  if (!isActive) return 'INACTIVE';
  if (!eventTypes.some((pattern) => matchesPattern(pattern, event.type))) return 'TYPE_MISMATCH';
  if (filter === null) return 'DELIVERED_TO';
  const isFulfilled = !isSkipped && (await event.fulfils(filter));
  if (isFulfilled === undefined) return 'DATA_REDACTED';
  return isFulfilled ? 'DELIVERED_TO' : 'FILTER_FALSE';
}

type MatchExplanation = {
  readonly event: {
    readonly id: string;
    readonly tenant: string;
    /** Null: the event was not matched, because its subscriptions were given explicitly. */
    readonly matchedVersion: bigint | null;
  };
  /** Bounds of the subscriptions' ids, both exclusive; absent: unbounded. */
  readonly afterId?: string | undefined;
  readonly beforeId?: string | undefined;
  readonly order: 'asc' | 'desc';
  readonly limit: number;
};

/** The settings of a subscription when the event was matched. */
type MatchingSettings = {
  readonly eventTypes: readonly string[];
  readonly isActive: boolean;
  /** Null: no filter. */
  readonly filter: unknown;
  /** Whether the event's filter budget was exhausted before this subscription. Its filter then counts as not matching. */
  readonly isSkipped: boolean;
};

export type ExplainedSubscription = {
  readonly subscriptionId: string;
  /** Null if the subscription did not exist when the event was matched; the event was delivered to it later. */
  readonly settings: MatchingSettings | null;
  /** The id of the event's first delivery to the subscription. */
  readonly deliveryId: string | null;
};

/** A page of the subscriptions that an event was matched with or delivered to, in the order of their ids. */
export async function explainedSubscriptions(
  db: Queryable,
  { event, afterId, beforeId, order, limit }: MatchExplanation,
): Promise<readonly ExplainedSubscription[]> {
  const { rows } = await db.query<ExplainedSubscription>(order === 'asc' ? ASCENDING : DESCENDING, [
    event.id,
    leastChildId(event.id),
    event.matchedVersion,
    event.tenant,
    afterId ?? LEAST_UUID,
    beforeId ?? GREATEST_UUID,
    limit,
  ]);
  return rows;
}

// A delivery's id is not older than its event's, except for clock skew. The bound on the id lets Postgres prune partitions.
const statement = (order: 'ASC' | 'DESC') => `
  WITH first_deliveries AS MATERIALIZED (
    SELECT DISTINCT ON (subscription_id) subscription_id, id FROM deliveries
    WHERE event_id = $1::uuid AND id >= $2::uuid ORDER BY subscription_id, id
  )
  SELECT s.id AS "subscriptionId", d.id AS "deliveryId",
    CASE WHEN m.subscription_id IS NOT NULL THEN
      json_build_object('eventTypes', m.event_types, 'isActive', m.is_active, 'filter', m.filter,
        'isSkipped', coalesce(s.id >= (SELECT filter_budget_exhausted_at FROM events WHERE id = $1::uuid), false))
    END AS settings
  FROM webhook_subscriptions s
  LEFT JOIN first_deliveries d ON d.subscription_id = s.id
  LEFT JOIN LATERAL (
    SELECT * FROM matching_settings WHERE subscription_id = s.id AND from_version <= $3::bigint
    ORDER BY from_version DESC LIMIT 1
  ) m ON m.until_version IS NULL OR m.until_version > $3::bigint
  WHERE s.tenant = $4 AND s.id > $5::uuid AND s.id < $6::uuid AND (m.subscription_id IS NOT NULL OR d.id IS NOT NULL)
  ORDER BY s.id ${order} LIMIT $7`;
const ASCENDING = statement('ASC');
const DESCENDING = statement('DESC');
