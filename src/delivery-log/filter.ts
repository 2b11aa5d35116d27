import { isTenant, readTenant, type Viewer } from '../auth/viewer.ts';
import { isEventTypePattern } from '../events/event-type.ts';
import type { Attempt, DeliveryStatus, FailureReason, Prisma } from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { CLOCK_DRIFT_MS, isUuid, uuid7Floor } from '../lib/uuid7.ts';
import type { Database } from '../postgres/client.ts';

type Optional<T> = { readonly [K in keyof T]?: T[K] | null | undefined };

type StatusCodeRange = { readonly from: number; readonly to: number };

/** Which deliveries and attempts are meant; fields that are absent or null do not matter, an empty list matches nothing. */
export type DeliveryFilter = Optional<{
  tenant: string;
  subscriptionIds: readonly string[];
  eventTypes: readonly string[];
  statuses: readonly DeliveryStatus[];
  statusCodes: readonly StatusCodeRange[];
  failureReasons: readonly FailureReason[];
  from: Date;
  to: Date;
}>;

/**
 * One comparison of one column of an attempt. These are all that filters are made of; `attemptMatches` here and
 * `attemptWhere` in delivery-log/filter.ts are two readings of the same comparisons, so they cannot drift apart.
 */
type Comparison =
  | { readonly field: 'tenant' | 'subscriptionId' | 'eventType'; readonly equals: string }
  | { readonly field: 'eventType'; readonly startsWith: string }
  | { readonly field: 'status'; readonly equals: DeliveryStatus }
  | { readonly field: 'failureReason'; readonly equals: FailureReason }
  | { readonly field: 'statusCode'; readonly range: StatusCodeRange }
  | { readonly field: 'startedAt'; readonly notBefore: Date }
  | { readonly field: 'startedAt'; readonly before: Date };

/** One of the comparisons must hold. */
type Rule = readonly Comparison[];

const MAX_LIST_LENGTH = 250;

/** The rules of a filter, all of which must hold. */
function describeFilter(filter: DeliveryFilter): Rule[] {
  const { tenant, subscriptionIds, statuses, statusCodes, failureReasons, from, to } = filter;
  const rules: (Rule | undefined)[] = [
    tenant == null ? undefined : [{ field: 'tenant', equals: tenant }],
    // What is no id is nobody's id.
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

/** Whether an attempt in memory is one that the filter means. */
export function attemptMatches(filter: DeliveryFilter): (attempt: Attempt) => boolean {
  const rules = describeFilter(filter);
  return (attempt) => rules.every((rule) => rule.some((comparison) => holds(comparison, attempt)));
}

/** Every problem of this and the other filters, which have fewer fields; `tenantProblem` says why it may not be named. */
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

function holds(comparison: Comparison, attempt: Attempt): boolean {
  if ('equals' in comparison) return attempt[comparison.field] === comparison.equals;
  if ('startsWith' in comparison) return attempt.eventType.startsWith(comparison.startsWith);
  if ('notBefore' in comparison) return attempt.startedAt >= comparison.notBefore;
  if ('before' in comparison) return attempt.startedAt < comparison.before;
  const { statusCode } = attempt;
  return statusCode !== null && statusCode >= comparison.range.from && statusCode <= comparison.range.to;
}

/** No row matches. `OR: []` would say the same, but inside an `AND` Prisma drops it, and then every row matches (7.10). */
const NOTHING = { id: { in: [] } };

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** How much earlier or later than the time in its id a row's own time may be. */
type Drift = { readonly earlierMs: number; readonly laterMs: number };

/**
 * An attempt gets its id when it is recorded, which follows its end, unless Postgres is away: one that waited for longer
 * than this is not found by `to`. Later, because clocks are put back.
 */
const ATTEMPT_DRIFT: Drift = { earlierMs: 60 * MINUTE_MS, laterMs: CLOCK_DRIFT_MS };
/**
 * Events, deliveries and rejections have the time of JetStream, which keeps for three days what nobody dispatches; what is
 * in hand when they end has two hours more. All of that is read to find the latest, so it is no longer than it has to be.
 */
const EVENT_DRIFT: Drift = { earlierMs: CLOCK_DRIFT_MS, laterMs: 3 * DAY_MS + 120 * MINUTE_MS };

/** The filter as a condition on the table of attempts. */
export function attemptWhere({ statuses, ...filter }: DeliveryFilter): Prisma.AttemptWhereInput {
  const conditions: Prisma.AttemptWhereInput[] = describeFilter(filter).map((rule) => compare(rule, (field) => field));
  if (statuses != null) conditions.push(statusWhere(statuses));
  // Says once more what these say, for the partial indexes.
  if (selectsOnlyFailures(filter)) conditions.push({ failureReason: { not: null } });
  return { AND: [...conditions, ...idBounds(filter, ATTEMPT_DRIFT)] };
}

/** An attempt has ended, so it is never pending or cancelled; and it has failed if there is a reason. */
function statusWhere(statuses: readonly DeliveryStatus[]): Prisma.AttemptWhereInput {
  const [succeeded, failed] = [statuses.includes('SUCCESS'), statuses.includes('FAILURE')];
  if (succeeded && failed) return {};
  if (succeeded) return { failureReason: null };
  return failed ? { failureReason: { not: null } } : NOTHING;
}

/**
 * The filter as a condition on the table of deliveries: the delivery's own status, when it was created, and for status
 * codes and failure reasons that one of its attempts has them.
 */
export function deliveryWhere({ statusCodes, failureReasons, ...own }: DeliveryFilter): Prisma.DeliveryWhereInput {
  const conditions: Prisma.DeliveryWhereInput[] = describeFilter(own).map((rule) =>
    compare(rule, (field) => (field === 'startedAt' ? 'createdAt' : field)),
  );
  if (own.statuses?.includes('SUCCESS') === false) conditions.push({ isUnsuccessful: true });
  if (statusCodes != null || failureReasons != null) {
    const { tenant, subscriptionIds, eventTypes } = own;
    // What a delivery has in common with its attempts, too, so that Postgres may begin with either.
    conditions.push({
      attempts: { some: attemptWhere({ tenant, subscriptionIds, eventTypes, statusCodes, failureReasons }) },
    });
  }
  return { AND: [...conditions, ...idBounds(own, EVENT_DRIFT)] };
}

/** The filter as a condition on the table of events: the event's type, and when it came in. */
export function eventWhere(
  filter: Pick<DeliveryFilter, 'tenant' | 'eventTypes' | 'from' | 'to'>,
): Prisma.EventWhereInput {
  const { tenant, eventTypes, from, to } = filter;
  const conditions = describeFilter({ tenant, eventTypes, from, to }).map((rule) =>
    compare(rule, (field) => (field === 'eventType' ? 'type' : field === 'startedAt' ? 'createdAt' : field)),
  );
  return { AND: [...conditions, ...idBounds(filter, EVENT_DRIFT)] };
}

type Times = Pick<DeliveryFilter, 'from' | 'to'>;

/** The ids that rejected events of this time can have. */
export function rejectionWhere({ from, to }: Times): Prisma.RejectedEventWhereInput {
  const createdAt = { ...(from != null && { gte: from }), ...(to != null && { lt: to }) };
  return { AND: [{ createdAt }, ...idBounds({ from, to }, EVENT_DRIFT)] };
}

/** Ids begin with a time: so Postgres leaves out partitions, and reads no more than that of the others' indexes. */
function idBounds({ from, to }: Times, { earlierMs, laterMs }: Drift): { id: { gte: string } | { lt: string } }[] {
  return [
    ...(from == null ? [] : [{ id: { gte: uuid7Floor(from.getTime() - laterMs) } }]),
    ...(to == null ? [] : [{ id: { lt: uuid7Floor(to.getTime() + earlierMs) } }]),
  ];
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

/** Whether only attempts that failed have these codes and reasons: every 2xx is a success, and nothing else is. */
export function selectsOnlyFailures({ statusCodes, failureReasons }: DeliveryFilter): boolean {
  return failureReasons != null || statusCodes?.every(({ from, to }) => to < 200 || from > 299) === true;
}

/** One of the comparisons holds. Values are put into one list, which Postgres looks up in an index as a whole. */
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
  // Prisma makes this a LIKE without escaping; an event type can have `_` in it, which LIKE takes for any character.
  return { startsWith: comparison.startsWith.replace(/[\\%_]/g, '\\$&') };
}

type Given<Filter> = Filter | null | undefined;

/**
 * The tenant that a viewer may mean by a filter, as a condition on any table that has one. Throws an InvalidInputError
 * with every problem of the filter, and `others`: those of the arguments beside it.
 */
export function checkFilter(
  viewer: Viewer,
  filter: Given<DeliveryFilter>,
  others: readonly InputProblem[] = [],
): { readonly tenant?: string } {
  const { tenant, tenantProblem } = readTenant(viewer, filter?.tenant);
  const problems = [...others, ...problemsOfFilter(filter ?? {}, tenantProblem)];
  if (problems.length > 0) throw new InvalidInputError(problems);
  return tenant === undefined ? {} : { tenant };
}

/**
 * What of a filter the viewer may mean; everything that reads or watches by a DeliveryFilter begins here. Ids of another
 * tenant's subscriptions are taken out, like those that nobody has: left in, Postgres may go through everything of such a
 * subscription to find that nothing of it is the viewer's, and the time it takes would tell. Throws as checkFilter does.
 */
export async function scopeFilterToViewer(
  { services, viewer }: { readonly services: { readonly database: Pick<Database, 'prisma'> }; readonly viewer: Viewer },
  given: Given<DeliveryFilter>,
  others: readonly InputProblem[] = [],
): Promise<DeliveryFilter> {
  const { tenant } = checkFilter(viewer, given, others);
  const filter = { ...given, ...(tenant !== undefined && { tenant }) };
  const { subscriptionIds } = filter;
  if (tenant === undefined || subscriptionIds == null) return filter;
  const known = await services.database.prisma.webhookSubscription.findMany({
    // Deleted ones too: their log stays.
    where: { tenant, id: { in: subscriptionIds.filter(isUuid) } },
    select: { id: true },
  });
  return { ...filter, subscriptionIds: known.map(({ id }) => id) };
}

/** A filter that was checked, as it is stored with a replay: without what does not matter, moments as text. */
export function storeFilter({ subscriptionIds, ...filter }: DeliveryFilter): Prisma.InputJsonObject {
  // What is no id is nobody's; it may be of any length, and have characters that Postgres does not store.
  const known = { ...filter, subscriptionIds: subscriptionIds?.filter(isUuid) };
  const given = Object.entries(known).filter(([, value]) => value != null);
  // `as`: what JSON.stringify made of an object, from JSON again.
  return JSON.parse(JSON.stringify(Object.fromEntries(given))) as Prisma.InputJsonObject;
}

/** The condition that a stored filter stands for: the same as that of the query `deliveries`. */
export function storedFilterWhere(stored: unknown): Prisma.DeliveryWhereInput {
  // Only storeFilter() writes them; `as` because JSON has no moments.
  const { from, to, ...filter } = stored as DeliveryFilter;
  return deliveryWhere({
    ...filter,
    ...(from != null && { from: new Date(from) }),
    ...(to != null && { to: new Date(to) }),
  });
}
