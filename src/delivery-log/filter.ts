import { isTenant, matchTenant, requireWholeTenant, type Viewer } from '../auth/viewer.ts';
import { isEventTypePattern } from '../events/event-type.ts';
import type {
  Attempt,
  Delivery,
  DeliveryStatus,
  Event,
  FailureReason,
  Prisma,
  RejectedEvent,
  RejectionReason,
} from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { CLOCK_DRIFT_MS, idRange, isUuid, uuid7Floor } from '../lib/uuid7.ts';
import type { Database } from '../postgres/client.ts';

type Optional<T> = { readonly [K in keyof T]?: T[K] | null | undefined };

type StatusCodeRange = { readonly from: number; readonly to: number };

/** Selects deliveries and attempts. Absent or null fields are ignored; an empty list matches nothing. */
export type DeliveryFilter = Optional<{
  tenant: string;
  /** The ids of deliveries or of attempts, whichever the filter is applied to. */
  ids: readonly string[];
  subscriptionIds: readonly string[];
  eventTypes: readonly string[];
  statuses: readonly DeliveryStatus[];
  statusCodes: readonly StatusCodeRange[];
  failureReasons: readonly FailureReason[];
  from: Date;
  to: Date;
}>;

/**
 * One comparison of one column of an attempt. Filters consist of these only: `attemptMatches` evaluates them in memory,
 * `attemptWhere` in SQL.
 */
type Comparison =
  | { readonly field: 'id' | 'tenant' | 'subscriptionId' | 'eventType'; readonly equals: string }
  | { readonly field: 'eventType'; readonly startsWith: string }
  | { readonly field: 'status'; readonly equals: DeliveryStatus }
  | { readonly field: 'failureReason'; readonly equals: FailureReason }
  | { readonly field: 'statusCode'; readonly range: StatusCodeRange }
  | { readonly field: 'startedAt'; readonly notBefore: Date }
  | { readonly field: 'startedAt'; readonly before: Date };

/** At least one of the comparisons must hold. */
type Rule = readonly Comparison[];

const MAX_LIST_LENGTH = 250;

/** The rules of a filter, all of which must hold. */
function describeFilter(filter: DeliveryFilter): Rule[] {
  const { tenant, subscriptionIds, statuses, statusCodes, failureReasons, from, to } = filter;
  const rules: (Rule | undefined)[] = [
    tenant == null ? undefined : [{ field: 'tenant', equals: tenant }],
    // A text that is not a UUID matches nothing.
    filter.ids?.filter(isUuid).map((id) => ({ field: 'id', equals: id.toLowerCase() })),
    subscriptionIds?.filter(isUuid).map((id) => ({ field: 'subscriptionId', equals: id.toLowerCase() })),
    describeEventTypes(filter.eventTypes ?? undefined),
    statuses?.map((status) => ({ field: 'status', equals: status })),
    statusCodes?.map((range) => ({ field: 'statusCode', range })),
    failureReasons?.map((reason) => ({ field: 'failureReason', equals: reason })),
    from == null ? undefined : [{ field: 'startedAt', notBefore: from }],
    to == null ? undefined : [{ field: 'startedAt', before: to }],
  ];
  return rules.filter((rule) => rule !== undefined);
}

/** Evaluates the filter on attempts in memory. */
export function attemptMatches(filter: DeliveryFilter): (attempt: Attempt) => boolean {
  return evaluate(filter, (attempt) => attempt);
}

/** Evaluates the filter on deliveries in memory; it must have no conditions on attempts. */
export function deliveryMatches(filter: DeliveryFilter): (delivery: Delivery) => boolean {
  return evaluate(filter, (delivery) => ({ ...delivery, startedAt: delivery.createdAt }));
}

type EventFilter = Pick<DeliveryFilter, 'tenant' | 'eventTypes' | 'from' | 'to'>;

/** Evaluates the filter on events in memory. */
export function eventMatches(filter: EventFilter): (event: Pick<Event, 'tenant' | 'type' | 'createdAt'>) => boolean {
  return evaluate(filter, ({ tenant, type, createdAt }) => ({ tenant, eventType: type, startedAt: createdAt }));
}

/** The columns that comparisons can be about. */
type Comparable = { readonly tenant: string | null } & Partial<
  Pick<Attempt, 'id' | 'subscriptionId' | 'eventType' | 'failureReason' | 'statusCode' | 'startedAt'>
> & { readonly status?: DeliveryStatus };

function evaluate<Row>(filter: DeliveryFilter, columnsOf: (row: Row) => Comparable): (row: Row) => boolean {
  const rules = describeFilter(filter);
  return (row) => {
    const columns = columnsOf(row);
    return rules.every((rule) => rule.some((comparison) => holds(comparison, columns)));
  };
}

/** Every problem of a filter. `tenantProblem`: the reason why the viewer may not name the tenant. */
export function problemsOfFilter(filter: DeliveryFilter, tenantProblem?: string): InputProblem[] {
  const problems: InputProblem[] = [];
  if (tenantProblem !== undefined) problems.push({ path: 'filter.tenant', message: tenantProblem });
  else if (filter.tenant != null && !isTenant(filter.tenant)) {
    problems.push({ path: 'filter.tenant', message: 'is not the name of a tenant' });
  }
  for (const [field, value] of Object.entries(filter)) {
    if (Array.isArray(value) && value.length > MAX_LIST_LENGTH) {
      problems.push({ path: `filter.${field}`, message: `may have at most ${MAX_LIST_LENGTH} entries` });
    }
  }
  filter.eventTypes?.slice(0, MAX_LIST_LENGTH).forEach((pattern, index) => {
    if (isEventTypePattern(pattern)) return;
    problems.push({ path: `filter.eventTypes.${index}`, message: 'is not an event type' });
  });
  filter.statusCodes?.slice(0, MAX_LIST_LENGTH).forEach(({ from, to }, index) => {
    if (from > to) problems.push({ path: `filter.statusCodes.${index}`, message: 'ends before it begins' });
  });
  if (filter.from != null && filter.to != null && filter.from > filter.to) {
    problems.push({ path: 'filter.to', message: 'is before filter.from' });
  }
  return problems;
}

/** Throws an InvalidInputError with every problem. */
export function checkDeliveryFilter(filter: DeliveryFilter): void {
  const problems = problemsOfFilter(filter);
  if (problems.length > 0) throw new InvalidInputError(problems);
}

function describeEventTypes(patterns: readonly string[] | undefined): Rule | undefined {
  if (patterns?.includes('*') === true) return undefined;
  return patterns?.map((pattern) =>
    pattern.endsWith('.*')
      ? { field: 'eventType', startsWith: pattern.slice(0, -1) }
      : { field: 'eventType', equals: pattern },
  );
}

function holds(comparison: Comparison, row: Comparable): boolean {
  if ('equals' in comparison) return row[comparison.field] === comparison.equals;
  const { eventType = '', startedAt = BEGINNING, statusCode = null } = row;
  if ('startsWith' in comparison) return eventType.startsWith(comparison.startsWith);
  if ('notBefore' in comparison) return startedAt >= comparison.notBefore;
  if ('before' in comparison) return startedAt < comparison.before;
  return statusCode !== null && statusCode >= comparison.range.from && statusCode <= comparison.range.to;
}

const BEGINNING = new Date(0);

/** Matches no row. `OR: []` means the same, but Prisma 7.10 drops it inside an `AND`, and then every row matches. */
const NOTHING = { id: { in: [] } };

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** How much earlier or later than the time in its id the time in a row may be. */
type Drift = { readonly earlierMs: number; readonly laterMs: number };

/**
 * Earlier, because an attempt gets its id when it is recorded: at its end, or after an outage of Postgres. An attempt that
 * was recorded later than this is not found by `to`. Later, because clocks may be set back.
 */
const ATTEMPT_DRIFT: Drift = { earlierMs: 60 * MINUTE_MS, laterMs: CLOCK_DRIFT_MS };
/**
 * The ids of events, deliveries and rejections have JetStream's time, and undispatched events stay in JetStream for up to
 * three days; an event in flight at that time has two hours more. Finding the latest rows reads this whole range, so it is
 * as short as possible.
 */
const EVENT_DRIFT: Drift = { earlierMs: CLOCK_DRIFT_MS, laterMs: 3 * DAY_MS + 120 * MINUTE_MS };

/** The filter as a condition on the table of attempts. */
export function attemptWhere({ statuses, ...filter }: DeliveryFilter): Prisma.AttemptWhereInput {
  const conditions: Prisma.AttemptWhereInput[] = describeFilter(filter).map((rule) => compare(rule, (field) => field));
  if (statuses != null) conditions.push(statusWhere(statuses));
  // Redundant, but needed to use the partial indexes.
  if (selectsOnlyFailures(filter)) conditions.push({ failureReason: { not: null } });
  return { AND: [...conditions, ...idBounds(filter, ATTEMPT_DRIFT), ...rangeOf(filter)] };
}

/** An attempt in the log has ended, so it is never pending or cancelled; it has failed if it has a failure reason. */
function statusWhere(statuses: readonly DeliveryStatus[]): Prisma.AttemptWhereInput {
  const [succeeded, failed] = [statuses.includes('SUCCESS'), statuses.includes('FAILURE')];
  if (succeeded && failed) return {};
  if (succeeded) return { failureReason: null };
  return failed ? { failureReason: { not: null } } : NOTHING;
}

/**
 * The filter as a condition on the table of deliveries: status and times are those of the delivery; status codes and
 * failure reasons are those of at least one of its attempts.
 */
export function deliveryWhere({ statusCodes, failureReasons, ...own }: DeliveryFilter): Prisma.DeliveryWhereInput {
  const conditions: Prisma.DeliveryWhereInput[] = describeFilter(own).map((rule) =>
    compare(rule, (field) => (field === 'startedAt' ? 'createdAt' : field)),
  );
  if (own.statuses?.includes('SUCCESS') === false) conditions.push({ isUnsuccessful: true });
  if (statusCodes != null || failureReasons != null) {
    const { tenant, subscriptionIds, eventTypes } = own;
    // Repeats the columns shared by deliveries and attempts, so that Postgres may begin with either table.
    conditions.push({
      attempts: { some: attemptWhere({ tenant, subscriptionIds, eventTypes, statusCodes, failureReasons }) },
    });
  }
  return { AND: [...conditions, ...idBounds(own, EVENT_DRIFT), ...rangeOf(own)] };
}

/** The filter as a condition on the table of events: their type, and the time at which they were recorded. */
export function eventWhere(filter: EventFilter): Prisma.EventWhereInput {
  const { tenant, eventTypes, from, to } = filter;
  const conditions = describeFilter({ tenant, eventTypes, from, to }).map((rule) =>
    compare(rule, (field) => (field === 'eventType' ? 'type' : field === 'startedAt' ? 'createdAt' : field)),
  );
  return { AND: [...conditions, ...idBounds(filter, EVENT_DRIFT)] };
}

type Times = Pick<DeliveryFilter, 'from' | 'to'>;

type RejectionFilter = Optional<{ tenant: string; reasons: readonly RejectionReason[]; from: Date; to: Date }>;

/** Evaluates a filter of rejected events in memory. */
export function rejectionMatches({ reasons, ...filter }: RejectionFilter): (rejection: RejectedEvent) => boolean {
  const others = evaluate<RejectedEvent>(filter, ({ tenant, createdAt }) => ({ tenant, startedAt: createdAt }));
  return (rejection) => reasons?.includes(rejection.reason) !== false && others(rejection);
}

/** The condition on rejected events of this time. */
export function rejectionWhere({ from, to }: Times): Prisma.RejectedEventWhereInput {
  const createdAt = { ...(from != null && { gte: from }), ...(to != null && { lt: to }) };
  return { AND: [{ createdAt }, ...idBounds({ from, to }, EVENT_DRIFT)] };
}

/** Ids begin with a time, so these bounds let Postgres exclude partitions and read only a range of the indexes. */
function idBounds({ from, to }: Times, { earlierMs, laterMs }: Drift): { id: { gte: string } | { lt: string } }[] {
  return [
    ...(from == null ? [] : [{ id: { gte: uuid7Floor(from.getTime() - laterMs) } }]),
    ...(to == null ? [] : [{ id: { lt: uuid7Floor(to.getTime() + earlierMs) } }]),
  ];
}

/** The range of the filter's ids, so that Postgres plans only for their partitions. */
function rangeOf({ ids }: DeliveryFilter): { id: { gte: string; lte: string } }[] {
  const known = ids?.filter(isUuid).map((id) => id.toLowerCase()) ?? [];
  const [gte, lte] = idRange(known);
  return known.length === 0 ? [] : [{ id: { gte, lte } }];
}

/** The ids that deliveries of this time can have. */
export function deliveryIdBounds(times: Times): ({ gte: string } | { lt: string })[] {
  return idBounds(times, EVENT_DRIFT).map(({ id }) => id);
}

/** The ids that attempts started in this time can have. */
export function attemptIdBounds({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }) {
  const { earlierMs, laterMs } = ATTEMPT_DRIFT;
  return { leastId: uuid7Floor(fromMs - laterMs), beforeId: uuid7Floor(toMs + earlierMs) };
}

/** Whether the filter matches failed attempts only: exactly the 2xx status codes are successes. */
export function selectsOnlyFailures({ statusCodes, failureReasons }: DeliveryFilter): boolean {
  return failureReasons != null || statusCodes?.every(({ from, to }) => to < 200 || from > 299) === true;
}

/** At least one of the comparisons holds. Values are merged into one list, which Postgres looks up in an index at once. */
function compare(rule: Rule, columnOf: (field: Comparison['field']) => string): { OR: object[] } | typeof NOTHING {
  const [first] = rule;
  if (first === undefined) return NOTHING;
  const values = rule.flatMap((comparison) => ('equals' in comparison ? [comparison.equals] : []));
  const others = rule.flatMap((comparison) => ('equals' in comparison ? [] : [bounds(comparison)]));
  const column = columnOf(first.field);
  const conditions = [...(values.length === 0 ? [] : [{ in: values }]), ...others];
  return { OR: conditions.map((condition) => ({ [column]: condition })) };
}

function bounds(comparison: Exclude<Comparison, { readonly equals: string }>): object {
  if ('range' in comparison) return { gte: comparison.range.from, lte: comparison.range.to };
  if ('notBefore' in comparison) return { gte: comparison.notBefore };
  if ('before' in comparison) return { lt: comparison.before };
  // Prisma creates a LIKE without escaping; an event type may contain `_`, which LIKE treats as a wildcard.
  return { startsWith: comparison.startsWith.replace(/[\\%_]/g, '\\$&') };
}

/**
 * The tenant that the viewer may read, as a condition on any table with a tenant. Throws an InvalidInputError with every
 * problem of the filter, and with `others`, the problems of the arguments beside it.
 */
export function checkFilter(
  viewer: Viewer,
  filter: DeliveryFilter | null | undefined,
  others: readonly InputProblem[] = [],
): { readonly tenant?: string } {
  requireWholeTenant(viewer);
  return checkFilterOfDeliveries(viewer, filter, others);
}

/** The same for tables of one subscription's rows; the caller restricts itself to the subscriptions of a session. */
export function checkFilterOfDeliveries(
  viewer: Viewer,
  filter: DeliveryFilter | null | undefined,
  others: readonly InputProblem[] = [],
): { readonly tenant?: string } {
  const { tenant, tenantProblem } = matchTenant(viewer, filter?.tenant);
  const problems = [...others, ...problemsOfFilter(filter ?? {}, tenantProblem)];
  if (problems.length > 0) throw new InvalidInputError(problems);
  return tenant === undefined ? {} : { tenant };
}

/**
 * Restricts a filter to the viewer's tenant and subscriptions; call this before reading or watching by a DeliveryFilter. It removes the ids of
 * other tenants' subscriptions, like unknown ids: otherwise Postgres might read all rows of such a subscription to find none
 * of the viewer's, and the duration would reveal that it exists. Throws as checkFilter does.
 */
export async function scopeFilterToViewer(
  { services, viewer }: { readonly services: { readonly database: Pick<Database, 'prisma'> }; readonly viewer: Viewer },
  given: DeliveryFilter | null | undefined,
  others: readonly InputProblem[] = [],
): Promise<DeliveryFilter> {
  const { tenant } = checkFilterOfDeliveries(viewer, given, others);
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

/** A checked filter in the form stored with a replay: without null fields, times as text. */
export function storeFilter({ ids, subscriptionIds, ...filter }: DeliveryFilter): Prisma.InputJsonObject {
  // A text that is not a UUID matches nothing; it may have any length, and characters that Postgres cannot store.
  const storable = { ...filter, ids: ids?.filter(isUuid), subscriptionIds: subscriptionIds?.filter(isUuid) };
  const given = Object.entries(storable).filter(([, value]) => value != null);
  // `as`: the result is an object of JSON.
  return JSON.parse(JSON.stringify(Object.fromEntries(given))) as Prisma.InputJsonObject;
}

/** The filter that storeFilter() has stored. */
export function storedFilter(stored: unknown): DeliveryFilter {
  // `as`: only storeFilter() writes these. JSON has no dates.
  const { from, to, ...filter } = stored as DeliveryFilter;
  return {
    ...filter,
    ...(from != null && { from: new Date(from) }),
    ...(to != null && { to: new Date(to) }),
  };
}

/** A stored filter as the condition that the query `deliveries` uses for it. */
export function storedFilterWhere(stored: unknown): Prisma.DeliveryWhereInput {
  return deliveryWhere(storedFilter(stored));
}
