import { matchTenant, problemOfTenant, requireWholeTenant, type Viewer } from '../auth/viewer.ts';
import { isEventTypePattern } from '../events/event-type.ts';
import { eventRowIds } from '../events/store.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import type { DeliveryFilter, EventFilter, ResolvedFilter } from './filter.ts';

/*
 * Turns the filter of a request into the filter that is evaluated: reports its problems, restricts it to the viewer, and
 * looks up the rows that it refers to.
 */

const MAX_LIST_LENGTH = 250;
/** Milliseconds. The partial indexes of slow attempts start here (the first migration). */
export const MIN_SLOW_MS = 1_000;

const ABOUT_ATTEMPTS = 'is about attempts; use deliveryLog';
const ABOUT_DELIVERIES = 'is about deliveries; use deliveries';
const NOT_COUNTED = 'is not for statistics';

/** The fields that are refused for each use of a DeliveryFilter, with the reason (ADR 41). */
const REFUSED = {
  deliveries: { minResponseTimeMs: ABOUT_ATTEMPTS, attemptNumbers: ABOUT_ATTEMPTS },
  'delivery changes': {
    statusCodes: ABOUT_ATTEMPTS,
    failureReasons: ABOUT_ATTEMPTS,
    minResponseTimeMs: ABOUT_ATTEMPTS,
    attemptNumbers: ABOUT_ATTEMPTS,
    waitingFor: 'depends on the time and the webhook subscription; use deliveries',
  },
  attempts: { eventIds: ABOUT_DELIVERIES, waitingFor: ABOUT_DELIVERIES },
  statistics: {
    ids: NOT_COUNTED,
    eventIds: NOT_COUNTED,
    waitingFor: NOT_COUNTED,
    minResponseTimeMs: NOT_COUNTED,
    attemptNumbers: NOT_COUNTED,
  },
} as const satisfies Readonly<Record<string, Partial<Record<keyof DeliveryFilter, string>>>>;

/** The rows that a filter is applied to. */
export type FilterUse = keyof typeof REFUSED;

/** Returns every problem of a filter. `tenantProblem`: the reason why the viewer may not name the tenant. */
export function problemsOfFilter(
  filter: DeliveryFilter,
  { tenantProblem, use }: { readonly tenantProblem?: string | undefined; readonly use?: FilterUse | undefined } = {},
): InputProblem[] {
  const problems: InputProblem[] = [];
  const refuse = (field: string, message: string) => problems.push({ path: `filter.${field}`, message });
  const message = tenantProblem ?? problemOfTenant(filter.tenant);
  if (message !== undefined) refuse('tenant', message);
  for (const [field, value] of Object.entries(filter)) {
    if (Array.isArray(value) && value.length > MAX_LIST_LENGTH) {
      refuse(field, `may have at most ${MAX_LIST_LENGTH} entries`);
    }
  }
  const refused: Partial<Record<keyof DeliveryFilter, string>> = use === undefined ? {} : REFUSED[use];
  for (const [field, reason] of Object.entries(refused)) {
    // `as`: REFUSED has only these names.
    if (filter[field as keyof DeliveryFilter] != null) refuse(field, reason);
  }
  return [...problems, ...problemsOfValues(filter)];
}

function problemsOfValues({
  eventTypes,
  statusCodes,
  minResponseTimeMs,
  from: start,
  to: end,
}: DeliveryFilter): InputProblem[] {
  const problems: InputProblem[] = [];
  const refuse = (field: string, message: string) => problems.push({ path: `filter.${field}`, message });
  eventTypes?.slice(0, MAX_LIST_LENGTH).forEach((pattern, index) => {
    if (!isEventTypePattern(pattern))
      refuse(
        `eventTypes.${index}`,
        'must be an event type such as conversation.created, or a prefix such as conversation.*',
      );
  });
  statusCodes?.slice(0, MAX_LIST_LENGTH).forEach(({ from, to }, index) => {
    if (from > to) refuse(`statusCodes.${index}`, 'ends before it begins');
  });
  if (minResponseTimeMs != null && minResponseTimeMs < MIN_SLOW_MS) {
    refuse('minResponseTimeMs', `must be at least ${MIN_SLOW_MS}`);
  }
  if (start != null && end != null && start > end) refuse('to', 'is before filter.from');
  return problems;
}

/**
 * Returns the tenant that the viewer may read, as a condition on any table with a tenant. Throws an InvalidInputError
 * with every problem of the filter, and the problems of the other arguments in `others`.
 */
export function checkFilter(
  viewer: Viewer,
  filter: DeliveryFilter | null | undefined,
  others: readonly InputProblem[] = [],
): { readonly tenant?: string } {
  requireWholeTenant(viewer);
  return checkFilterOfDeliveries(viewer, filter, { problems: others });
}

type Check = { readonly use?: FilterUse; readonly problems?: readonly InputProblem[] };

/**
 * Like checkFilter, for tables with rows of one subscription each. The caller must restrict the rows to the
 * subscriptions of a session.
 */
export function checkFilterOfDeliveries(
  viewer: Viewer,
  filter: DeliveryFilter | null | undefined,
  { use, problems: others = [] }: Check = {},
): { readonly tenant?: string } {
  const { tenant, tenantProblem } = matchTenant(viewer, filter?.tenant);
  const problems = [...others, ...problemsOfFilter(filter ?? {}, { tenantProblem, use })];
  if (filter?.eventIds != null && tenant === undefined && tenantProblem === undefined) {
    problems.push({ path: 'filter.tenant', message: 'is required with eventIds, which are unique within a tenant' });
  }
  if (problems.length > 0) throw new InvalidInputError(problems);
  return tenant === undefined ? {} : { tenant };
}

/** The sources with which the references of a filter are looked up. */
export type References = {
  readonly db: Queryable;
  /** Postgres's time in milliseconds since 1970. */
  readonly nowMs: number;
  /** Whether NATS accepts deliveries from this process. */
  readonly takesDeliveries: boolean;
};

/**
 * Looks up the rows of `eventIds`, which need a tenant, and sets the time for `waitingFor`. Reads from Postgres only
 * for `eventIds`.
 */
export async function resolveFilter(
  { db, nowMs, takesDeliveries }: References,
  { eventIds, waitingFor, ...filter }: DeliveryFilter,
): Promise<ResolvedFilter> {
  return {
    ...filter,
    ...(eventIds != null && { eventRowIds: await eventRowIds(db, { tenant: tenantOf(filter), eventIds }) }),
    ...(waitingFor != null && { waiting: { reasons: waitingFor, now: new Date(nowMs), takesDeliveries } }),
  };
}

function tenantOf({ tenant }: Pick<DeliveryFilter, 'tenant'>): string {
  if (tenant == null) throw new Error('ids of events without a tenant were accepted');
  return tenant;
}

type FilterContext = {
  readonly viewer: Viewer;
  readonly services: {
    readonly database: Pick<Database, 'prisma' | 'readPool' | 'clock'>;
    readonly deliveries: { readonly takesDeliveries: boolean };
  };
};

export function referencesOf({ services: { database, deliveries } }: Pick<FilterContext, 'services'>): References {
  return {
    db: database.readPool,
    nowMs: database.clock.now(),
    takesDeliveries: deliveries.takesDeliveries,
  };
}

/**
 * Checks a filter of deliveries or attempts, restricts it to the viewer, and makes it ready to be evaluated. Throws as
 * checkFilter does.
 */
export async function readFilter(
  context: FilterContext,
  given: DeliveryFilter | null | undefined,
  check: Check & { readonly use: FilterUse },
): Promise<ResolvedFilter> {
  return resolveFilter(referencesOf(context), await scopeFilterToViewer(context, given, check));
}

/**
 * Restricts a filter to the viewer's tenant and subscriptions. It removes the ids of other tenants' subscriptions, like
 * unknown ids: otherwise Postgres might read all rows of such a subscription to find none of the viewer's, and the
 * duration would reveal that it exists. Throws as checkFilter does.
 */
export async function scopeFilterToViewer(
  { services, viewer }: { readonly services: { readonly database: Pick<Database, 'prisma'> }; readonly viewer: Viewer },
  given: DeliveryFilter | null | undefined,
  check: Check = {},
): Promise<DeliveryFilter> {
  const { tenant } = checkFilterOfDeliveries(viewer, given, check);
  const filter = { ...given, ...(tenant !== undefined && { tenant }) };
  const own = viewer.subscriptionIds;
  const subscriptionIds = own?.filter((id) => isNamed(given?.subscriptionIds, id)) ?? given?.subscriptionIds;
  if (tenant === undefined || subscriptionIds == null) return filter;
  const known = await services.database.prisma.webhookSubscription.findMany({
    // Includes deleted subscriptions, whose log is kept.
    where: { tenant, id: { in: subscriptionIds.filter(isUuid) } },
    select: { id: true },
  });
  return { ...filter, subscriptionIds: known.map(({ id }) => id) };
}

function isNamed(ids: DeliveryFilter['subscriptionIds'], id: string): boolean {
  return ids == null || ids.some((other) => other.toLowerCase() === id);
}

/**
 * Restricts the filter to a subscription that the viewer may read. It matches nothing if it names another tenant or only
 * other subscriptions. Throws as checkFilter does.
 */
export async function readFilterOfSubscription(
  context: FilterContext,
  given: DeliveryFilter | null | undefined,
  { id, tenant, use }: { readonly id: string; readonly tenant: string; readonly use: FilterUse },
): Promise<ResolvedFilter> {
  const problems = problemsOfFilter(given ?? {}, { use });
  if (problems.length > 0) throw new InvalidInputError(problems);
  const isIncluded = isNamed(given?.subscriptionIds, id) && (given?.tenant ?? tenant) === tenant;
  const resolved = await resolveFilter(referencesOf(context), { ...given, tenant });
  // Omits the redundant tenant: Postgres might otherwise start with all rows of the tenant.
  return { ...resolved, tenant: undefined, subscriptionIds: isIncluded ? [id] : [] };
}

/** Checks a filter of events and restricts it to the viewer's tenant. Throws as checkFilter does. */
export function scopeEventFilter(
  viewer: Viewer,
  given: EventFilter | null | undefined,
  others: readonly InputProblem[] = [],
): EventFilter {
  const { tenant } = checkFilter(viewer, given, others);
  if (given?.ids != null && tenant === undefined) {
    const message = 'is required with ids, which are unique within a tenant';
    throw new InvalidInputError([{ path: 'filter.tenant', message }]);
  }
  return { ...given, tenant };
}

/** Like scopeEventFilter, with the rows of the named events in place of their ids. */
export async function readEventFilter(
  {
    services,
    viewer,
  }: Pick<FilterContext, 'viewer'> & { readonly services: { readonly database: Pick<Database, 'readPool'> } },
  given: EventFilter | null | undefined,
) {
  const { ids, ...filter } = scopeEventFilter(viewer, given);
  if (ids == null) return filter;
  const rows = await eventRowIds(services.database.readPool, { tenant: tenantOf(filter), eventIds: ids });
  return { ...filter, eventRowIds: rows };
}

/** Converts a checked filter to the form stored with a replay: without null fields, times as text. */
export function serializeFilter({ ids, subscriptionIds, eventIds, ...filter }: DeliveryFilter): Prisma.InputJsonObject {
  // A text that is not a UUID matches nothing, but could have any length, and characters that Postgres cannot store.
  const storable = {
    ...filter,
    ids: ids?.filter(isUuid),
    subscriptionIds: subscriptionIds?.filter(isUuid),
    eventIds: eventIds?.filter((id) => !id.includes('\0')),
  };
  const given = Object.entries(storable).filter(([, value]) => value != null);
  // `as`: the result is a JSON object.
  return JSON.parse(JSON.stringify(Object.fromEntries(given))) as Prisma.InputJsonObject;
}

/** Parses the filter that serializeFilter() has stored. */
export function parseStoredFilter(stored: unknown): DeliveryFilter {
  // `as`: only serializeFilter() writes these. JSON has no dates, so times are text.
  const { from, to, ...filter } = stored as DeliveryFilter;
  return {
    ...filter,
    ...(from != null && { from: new Date(from) }),
    ...(to != null && { to: new Date(to) }),
  };
}
