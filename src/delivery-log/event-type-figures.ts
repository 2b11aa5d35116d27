import { isSystemEventType, patternsOf } from '../events/event-type.ts';
import type { Event } from '../generated/prisma/client.ts';
import { batched } from '../lib/batched.ts';
import { uuid7Floor } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';

/** The tenant and subscriptions that are counted. Undefined: all tenants, or all webhook subscriptions of the tenant. */
export type FiguresScope = {
  readonly tenant: string | undefined;
  readonly subscriptionIds?: readonly string[] | undefined;
};

/** Figures about event types by name. Equal requests in one turn of the event loop are combined into one statement. */
export type EventTypeFigures = {
  /** The number of webhook subscriptions that select the type; null if there are more than MAX_SUBSCRIPTIONS to compare. */
  readonly subscriptionCount: (name: string, scope: FiguresScope) => Promise<number | null>;
  /** The latest recorded event, without its data; null without events. */
  readonly lastEvent: (name: string, scope: FiguresScope) => Promise<LastEvent | null>;
};

type LastEvent = Pick<
  Event,
  'id' | 'tenant' | 'eventId' | 'type' | 'occurredAt' | 'createdAt' | 'matchedVersion' | 'source' | 'redactedAt'
>;

/**
 * Maximum webhook subscriptions whose event types are compared with those of the catalogue. Reading them takes some 0.1
 * s.
 */
export const MAX_SUBSCRIPTIONS = 50_000;
/**
 * Number of latest events of all tenants among which the last one of a type is searched, because no index has types by
 * time alone.
 */
export const MAX_SEARCHED_EVENTS = 10_000;

export function createEventTypeFigures({ readPool }: Pick<Database, 'readPool'>): EventTypeFigures {
  const subscriptionCount = batched((names, scope: FiguresScope) => countSubscriptions(readPool, { names, scope }));
  const lastEvent = batched((names, { tenant }: FiguresScope) => findLastEvents(readPool, { names, tenant }));
  return { subscriptionCount, lastEvent };
}

type Counted = { readonly names: readonly string[]; readonly scope: FiguresScope };

async function countSubscriptions(
  db: Queryable,
  { names, scope: { tenant, subscriptionIds } }: Counted,
): Promise<ReadonlyMap<string, number | null>> {
  const pairs = names.flatMap((name) => patternsOf(name).map((pattern) => ({ name, pattern })));
  const { rows } = await db.query<{ name: string | null; count: number; total: number }>(SUBSCRIPTIONS, [
    pairs.map(({ name }) => name),
    pairs.map(({ pattern }) => pattern),
    tenant ?? null,
    subscriptionIds ?? null,
    MAX_SUBSCRIPTIONS + 1,
  ]);
  const [first] = rows;
  const isExact = first === undefined || first.total <= MAX_SUBSCRIPTIONS;
  const counts = new Map(rows.map(({ name, count }) => [name, count]));
  // Subscriptions with `*` select every type of the catalogue, which contains none of the engine's types.
  const ofAll = counts.get(null) ?? 0;
  return new Map(names.map((name) => [name, isExact ? ofAll + (counts.get(name) ?? 0) : null]));
}

// Equal lists of event types are compared once. The row without a name counts the subscriptions that have `*`.
const SUBSCRIPTIONS = `
  WITH own AS (
    SELECT event_types FROM webhook_subscriptions
    WHERE deleted_at IS NULL AND ($3::text IS NULL OR tenant = $3) AND ($4::uuid[] IS NULL OR id = ANY ($4)) LIMIT $5
  ), list AS (
    SELECT event_types, '*' = ANY (event_types) AS has_all, count(*) AS size, row_number() OVER () AS number
    FROM own GROUP BY event_types
  ), matched AS (
    SELECT DISTINCT requested.name, list.number, list.size
    FROM list CROSS JOIN unnest(list.event_types) AS selected (pattern)
    JOIN unnest($1::text[], $2::text[]) AS requested (name, pattern) USING (pattern)
    WHERE NOT has_all
  ), total AS (SELECT coalesce(sum(size), 0)::integer AS total FROM list)
  SELECT name, sum(size)::integer AS count, total FROM matched CROSS JOIN total GROUP BY name, total
  UNION ALL
  SELECT NULL, coalesce(sum(size) FILTER (WHERE has_all), 0)::integer, total FROM total LEFT JOIN list ON true GROUP BY total`;

type Searched = { readonly names: readonly string[]; readonly tenant: string | undefined };

async function findLastEvents(
  db: Queryable,
  { names, tenant }: Searched,
): Promise<ReadonlyMap<string, LastEvent | null>> {
  const { rows } = await (tenant === undefined
    ? db.query<LastEventRow>(LAST_OF_ALL, [names, MAX_SEARCHED_EVENTS])
    : db.query<LastEventRow>(LAST_OF_TENANT, [names, tenant]));
  const events = new Map(rows.map((row) => [row.type, toEvent(row)]));
  return new Map(names.map((name) => [name, events.get(name) ?? null]));
}

/** node-postgres returns a bigint as text. */
type LastEventRow = Omit<LastEvent, 'matchedVersion'> & { readonly matchedVersion: string | null };

function toEvent({ matchedVersion, ...row }: LastEventRow): LastEvent {
  return { ...row, matchedVersion: matchedVersion === null ? null : BigInt(matchedVersion) };
}

const COLUMNS = `id, tenant, event_id AS "eventId", type, occurred_at AS "occurredAt", created_at AS "createdAt",
  matched_version AS "matchedVersion", source, redacted_at AS "redactedAt"`;

const LAST_OF_TENANT = `
  SELECT latest.* FROM unnest($1::text[]) AS requested (name) CROSS JOIN LATERAL (
    SELECT ${COLUMNS} FROM events WHERE type = requested.name AND tenant = $2 ORDER BY id DESC LIMIT 1
  ) AS latest`;

const LAST_OF_ALL = `
  SELECT DISTINCT ON (type) latest.* FROM unnest($1::text[]) AS requested (type)
  JOIN (SELECT ${COLUMNS} FROM events ORDER BY id DESC LIMIT $2) AS latest USING (type) ORDER BY type, id DESC`;

export type ObservedTypes = {
  /** Undefined: all tenants. */
  readonly tenant: string | undefined;
  readonly days: number;
};

export const MAX_OBSERVED_DAYS = 30;
/** Maximum number of returned names. */
export const MAX_OBSERVED = 250;
/** Maximum types of stored events that are examined, as many as the catalogue can have. Each takes some 0.1 ms. */
export const MAX_EXAMINED_TYPES = 2_000;
/**
 * Maximum latest events of a tenant whose types are examined, in addition: another tenant can have MAX_EXAMINED_TYPES types
 * that come first by name.
 */
export const MAX_EXAMINED_EVENTS = 10_000;
const DAY_MS = 86_400_000;

/** The types of stored events of the last days that are not in the event catalogue, without the engine's, sorted by name. */
export async function observedEventTypes(
  { readPool, clock }: Pick<Database, 'readPool' | 'clock'>,
  { tenant, days }: ObservedTypes,
): Promise<string[]> {
  const leastId = uuid7Floor(clock.now() - days * DAY_MS);
  const { rows } = await readPool.query<{ type: string }>(OBSERVED, [
    leastId,
    MAX_EXAMINED_TYPES,
    tenant ?? null,
    MAX_EXAMINED_EVENTS,
  ]);
  const names = rows.map(({ type }) => type).filter((type) => !isSystemEventType(type));
  return names.slice(0, MAX_OBSERVED);
}

// Postgres has no loose index scan: each step of the recursion finds the next type in events_type_tenant_id_idx.
const OBSERVED = `
  WITH RECURSIVE seen AS (
    (SELECT type, 1 AS number FROM events WHERE id >= $1::uuid ORDER BY type LIMIT 1)
    UNION ALL
    SELECT next.type, seen.number + 1 FROM seen CROSS JOIN LATERAL (
      SELECT type FROM events WHERE type > seen.type AND id >= $1::uuid ORDER BY type LIMIT 1
    ) AS next
    WHERE seen.number < $2
  )
  SELECT type FROM (
    SELECT type FROM seen WHERE $3::text IS NULL
      OR (SELECT true FROM events e WHERE e.type = seen.type AND e.tenant = $3 AND e.id >= $1::uuid LIMIT 1)
    UNION
    SELECT type FROM (
      SELECT type FROM events WHERE tenant = $3 AND id >= $1::uuid ORDER BY id DESC LIMIT $4
    ) AS latest
  ) AS observed
  WHERE NOT EXISTS (SELECT FROM event_types WHERE name = observed.type)
  ORDER BY type`;
