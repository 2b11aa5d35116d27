import { type Waiting, waitingWhere } from '../delivery/queue/wait-reason.ts';
import type {
  Attempt,
  Delivery,
  DeliveryStatus,
  Event,
  FailureReason,
  Prisma,
  RejectedEvent,
  RejectionReason,
  WaitReason,
} from '../generated/prisma/client.ts';
import { CLOCK_DRIFT_MS, idRange, isUuid, leastChildId, uuid7Floor } from '../lib/uuid7.ts';

type Optional<T> = { readonly [K in keyof T]?: T[K] | null | undefined };

type StatusCodeRange = { readonly from: number; readonly to: number };

/** Selects deliveries and attempts. Absent or null fields are ignored; an empty list matches nothing. */
export type DeliveryFilter = Optional<{
  tenant: string;
  /** The ids of deliveries or of attempts, depending on the table that the filter is applied to. */
  ids: readonly string[];
  subscriptionIds: readonly string[];
  eventTypes: readonly string[];
  statuses: readonly DeliveryStatus[];
  statusCodes: readonly StatusCodeRange[];
  failureReasons: readonly FailureReason[];
  /** Publishers' ids of events of one tenant. For deliveries only. */
  eventIds: readonly string[];
  /** For deliveries only. */
  waitingFor: readonly WaitReason[];
  /** For attempts only. */
  minResponseTimeMs: number;
  /** For attempts only. */
  attemptNumbers: readonly number[];
  from: Date;
  to: Date;
}>;

/**
 * A filter whose references are looked up (`resolveFilter` in filter-input.ts): rows of events in place of their ids,
 * and the time at which the reasons for waiting are evaluated.
 */
export type ResolvedFilter = Omit<DeliveryFilter, 'eventIds' | 'waitingFor'> & {
  readonly eventIds?: undefined;
  readonly waitingFor?: undefined;
  readonly eventRowIds?: readonly string[] | undefined;
  readonly waiting?: Waiting | undefined;
};

/**
 * One comparison of one column of an attempt. Filters consist of these only: `attemptMatches` evaluates them in memory,
 * `attemptWhere` in SQL.
 */
type Comparison =
  | { readonly field: 'id' | 'tenant' | 'subscriptionId' | 'eventId' | 'eventType'; readonly equals: string }
  | { readonly field: 'eventType'; readonly startsWith: string }
  | { readonly field: 'status'; readonly equals: DeliveryStatus }
  | { readonly field: 'failureReason'; readonly equals: FailureReason }
  | { readonly field: 'statusCode'; readonly range: StatusCodeRange }
  | { readonly field: 'number'; readonly equals: number }
  | { readonly field: 'responseTimeMs'; readonly atLeast: number }
  | { readonly field: 'startedAt'; readonly notBefore: Date }
  | { readonly field: 'startedAt'; readonly before: Date };

/** At least one of the comparisons must hold. */
type Rule = readonly Comparison[];

/** The rules of a filter, all of which must hold. */
function describeFilter(filter: ResolvedFilter): Rule[] {
  const { tenant, subscriptionIds, statuses, statusCodes, failureReasons, minResponseTimeMs, from, to } = filter;
  const rules: (Rule | undefined)[] = [
    tenant == null ? undefined : [{ field: 'tenant', equals: tenant }],
    // A text that is not a UUID matches nothing.
    filter.ids?.filter(isUuid).map((id) => ({ field: 'id', equals: id.toLowerCase() })),
    subscriptionIds?.filter(isUuid).map((id) => ({ field: 'subscriptionId', equals: id.toLowerCase() })),
    filter.eventRowIds?.map((id) => ({ field: 'eventId', equals: id })),
    describeEventTypes(filter.eventTypes ?? undefined),
    statuses?.map((status) => ({ field: 'status', equals: status })),
    statusCodes?.map((range) => ({ field: 'statusCode', range })),
    failureReasons?.map((reason) => ({ field: 'failureReason', equals: reason })),
    filter.attemptNumbers?.map((number) => ({ field: 'number', equals: number })),
    minResponseTimeMs == null ? undefined : [{ field: 'responseTimeMs', atLeast: minResponseTimeMs }],
    from == null ? undefined : [{ field: 'startedAt', notBefore: from }],
    to == null ? undefined : [{ field: 'startedAt', before: to }],
  ];
  return rules.filter((rule) => rule !== undefined);
}

/** Evaluates the filter on attempts in memory. */
export function attemptMatches(filter: ResolvedFilter): (attempt: Attempt) => boolean {
  return evaluate(filter, (attempt) => attempt);
}

/**
 * Evaluates the filter on deliveries in memory. The filter must have no conditions on attempts or on reasons for
 * waiting.
 */
export function deliveryMatches(filter: ResolvedFilter): (delivery: Delivery) => boolean {
  return evaluate(filter, (delivery) => ({ ...delivery, startedAt: delivery.createdAt }));
}

/** `ids`: publishers' ids of events of one tenant. */
export type EventFilter = Pick<DeliveryFilter, 'tenant' | 'ids' | 'eventTypes' | 'from' | 'to'>;

type EventColumns = Pick<Event, 'tenant' | 'eventId' | 'type' | 'createdAt'>;

/** Evaluates the filter on events in memory. */
export function eventMatches({ ids, ...filter }: EventFilter): (event: EventColumns) => boolean {
  const wanted = ids == null ? undefined : new Set(ids);
  const others = evaluate<EventColumns>(filter, ({ tenant, type, createdAt }) => ({
    tenant,
    eventType: type,
    startedAt: createdAt,
  }));
  return (event) => wanted?.has(event.eventId) !== false && others(event);
}

/** The columns that comparisons can use. */
type Comparable = { readonly tenant: string | null } & Partial<
  Pick<
    Attempt,
    'id' | 'subscriptionId' | 'eventType' | 'number' | 'failureReason' | 'statusCode' | 'responseTimeMs' | 'startedAt'
  >
> & { readonly status?: DeliveryStatus; readonly eventId?: string };

function evaluate<Row>(filter: ResolvedFilter, columnsOf: (row: Row) => Comparable): (row: Row) => boolean {
  const rules = describeFilter(filter);
  return (row) => {
    const columns = columnsOf(row);
    return rules.every((rule) => rule.some((comparison) => holds(comparison, columns)));
  };
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
  const { eventType = '', startedAt = BEGINNING, statusCode = null, responseTimeMs = 0 } = row;
  if ('atLeast' in comparison) return responseTimeMs >= comparison.atLeast;
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

/** Milliseconds by which the time in a row may be earlier or later than the time in its id. */
type Drift = { readonly earlierMs: number; readonly laterMs: number };

/**
 * Earlier, because an attempt gets its id when it is recorded: at its end, or after an outage of Postgres. `to` does
 * not find an attempt that was recorded later than this. Later, because clocks may be set back.
 */
const ATTEMPT_DRIFT: Drift = { earlierMs: 60 * MINUTE_MS, laterMs: CLOCK_DRIFT_MS };
/**
 * The ids of events, deliveries and rejections have JetStream's time. Undispatched events stay in JetStream for up to
 * three days; two hours more cover an event in flight at that time. Finding the latest rows reads this whole range, so
 * it is as short as possible.
 */
const EVENT_DRIFT: Drift = { earlierMs: CLOCK_DRIFT_MS, laterMs: 3 * DAY_MS + 120 * MINUTE_MS };

/** The filter as a condition on the table of attempts. */
export function attemptWhere({ statuses, ...filter }: ResolvedFilter): Prisma.AttemptWhereInput {
  const conditions: Prisma.AttemptWhereInput[] = describeFilter(filter).map((rule) => compare(rule, (field) => field));
  if (statuses != null) conditions.push(statusWhere(statuses));
  // Redundant, but needed to use the partial indexes.
  if (selectsOnlyFailures(filter)) conditions.push({ failureReason: { not: null } });
  if (filter.attemptNumbers?.includes(1) === false) conditions.push({ number: { gt: 1 } });
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
export function deliveryWhere(filter: ResolvedFilter): Prisma.DeliveryWhereInput {
  const { statusCodes, failureReasons, waiting, ...own } = filter;
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
  if (waiting !== undefined) conditions.push({ status: 'PENDING', isUnsuccessful: true }, waitingWhere(waiting));
  return { AND: [...conditions, ...idBounds(own, EVENT_DRIFT), ...rangeOf(own), ...youngerThan(own.eventRowIds)] };
}

/** A delivery is younger than its event, except for clock drift. The bound lets Postgres exclude older partitions. */
function youngerThan(eventRowIds: readonly string[] = []): { id: { gte: string } }[] {
  const [oldest] = idRange(eventRowIds);
  return eventRowIds.length === 0 ? [] : [{ id: { gte: leastChildId(oldest) } }];
}

/** The filter as a condition on the table of events: their rows, type, and the time at which they were recorded. */
export function eventWhere(
  filter: Omit<EventFilter, 'ids'> & { readonly ids?: undefined } & EventRows,
): Prisma.EventWhereInput {
  const { tenant, eventTypes, eventRowIds, from, to } = filter;
  const conditions = describeFilter({ tenant, eventTypes, from, to }).map((rule) =>
    compare(rule, (field) => (field === 'eventType' ? 'type' : field === 'startedAt' ? 'createdAt' : field)),
  );
  const ids = eventRowIds === undefined ? [] : [{ id: { in: [...eventRowIds] } }, ...rangeOf({ ids: eventRowIds })];
  return { AND: [...conditions, ...ids, ...idBounds(filter, EVENT_DRIFT)] };
}

type EventRows = Pick<ResolvedFilter, 'eventRowIds'>;

type Times = Pick<DeliveryFilter, 'from' | 'to'>;

type RejectionFilter = Optional<{ tenant: string; reasons: readonly RejectionReason[]; from: Date; to: Date }>;

/** Evaluates a filter of rejected events in memory. */
export function rejectionMatches({ reasons, ...filter }: RejectionFilter): (rejection: RejectedEvent) => boolean {
  const others = evaluate<RejectedEvent>(filter, ({ tenant, createdAt }) => ({ tenant, startedAt: createdAt }));
  return (rejection) => reasons?.includes(rejection.reason) !== false && others(rejection);
}

/** The filter of rejected events by time, as a condition on their table. */
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
function rangeOf({ ids }: Pick<DeliveryFilter, 'ids'>): { id: { gte: string; lte: string } }[] {
  const known = ids?.filter(isUuid).map((id) => id.toLowerCase()) ?? [];
  const [gte, lte] = idRange(known);
  return known.length === 0 ? [] : [{ id: { gte, lte } }];
}

/** Bounds of the ids of deliveries that were created in this period. */
export function deliveryIdBounds(times: Times): ({ gte: string } | { lt: string })[] {
  return idBounds(times, EVENT_DRIFT).map(({ id }) => id);
}

/** Bounds of the ids of attempts that started in this period. */
export function attemptIdBounds({ fromMs, toMs }: { readonly fromMs: number; readonly toMs: number }) {
  const { earlierMs, laterMs } = ATTEMPT_DRIFT;
  return { leastId: uuid7Floor(fromMs - laterMs), beforeId: uuid7Floor(toMs + earlierMs) };
}

/** Whether the filter matches only failed attempts: exactly the 2xx status codes are successes. */
export function selectsOnlyFailures({ statusCodes, failureReasons }: ResolvedFilter): boolean {
  return failureReasons != null || statusCodes?.every(({ from, to }) => to < 200 || from > 299) === true;
}

/**
 * At least one of the comparisons must hold. Equal comparisons become one list, which Postgres looks up in an index at
 * once.
 */
function compare(rule: Rule, columnOf: (field: Comparison['field']) => string): { OR: object[] } | typeof NOTHING {
  const [first] = rule;
  if (first === undefined) return NOTHING;
  const values = rule.flatMap((comparison) => ('equals' in comparison ? [comparison.equals] : []));
  const others = rule.flatMap((comparison) => ('equals' in comparison ? [] : [bounds(comparison)]));
  const column = columnOf(first.field);
  const conditions = [...(values.length === 0 ? [] : [{ in: values }]), ...others];
  return { OR: conditions.map((condition) => ({ [column]: condition })) };
}

function bounds(comparison: Exclude<Comparison, { readonly equals: string | number }>): object {
  if ('range' in comparison) return { gte: comparison.range.from, lte: comparison.range.to };
  if ('notBefore' in comparison) return { gte: comparison.notBefore };
  if ('atLeast' in comparison) return { gte: comparison.atLeast };
  if ('before' in comparison) return { lt: comparison.before };
  // Prisma creates a LIKE without escaping; an event type may contain `_`, which LIKE treats as a wildcard.
  return { startsWith: comparison.startsWith.replace(/[\\%_]/g, '\\$&') };
}
