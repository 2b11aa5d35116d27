import { CLOCK_DRIFT_MS } from '../lib/clock-drift.ts';
import { uuid7Floor } from '../lib/uuid7.ts';
import type { DeliveryStatus, Prisma } from '../generated/prisma/client.ts';
import { type Comparison, type DeliveryFilter, describeFilter, type Rule } from './delivery-filter.ts';

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
  if (meansFailures(filter)) conditions.push({ failureReason: { not: null } });
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
export function meansFailures({ statusCodes, failureReasons }: DeliveryFilter): boolean {
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
