import { InvalidInputError } from '../lib/webhook-subscription-errors.ts';
import { isUuid } from '../subscriptions/service.ts';
import type { InputProblem } from '../lib/domain-error.ts';
import { isEventTypePattern, isTenant } from '../events/event-type.ts';
import type { Attempt, DeliveryStatus, FailureReason } from '../generated/prisma/client.ts';

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
 * `attemptWhere` in delivery-filter-where.ts are two readings of the same comparisons, so they cannot drift apart.
 */
export type Comparison =
  | { readonly field: 'tenant' | 'subscriptionId' | 'eventType'; readonly equals: string }
  | { readonly field: 'eventType'; readonly startsWith: string }
  | { readonly field: 'status'; readonly equals: DeliveryStatus }
  | { readonly field: 'failureReason'; readonly equals: FailureReason }
  | { readonly field: 'statusCode'; readonly range: StatusCodeRange }
  | { readonly field: 'startedAt'; readonly notBefore: Date }
  | { readonly field: 'startedAt'; readonly before: Date };

/** One of the comparisons must hold. */
export type Rule = readonly Comparison[];

const MAX_LIST_LENGTH = 250;

/** The rules of a filter, all of which must hold. */
export function describeFilter(filter: DeliveryFilter): Rule[] {
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
