import { AttemptStatus, type Prisma } from '../generated/prisma/client.ts';
import { type Comparison, type DeliveryFilter, describeFilter } from './delivery-filter.ts';

/** No row matches. `OR: []` would say the same, but inside an `AND` Prisma drops it, and then every row matches (7.10). */
const NOTHING = { id: { in: [] } };

/** The filter as a condition on the table of attempts. */
export function attemptWhere(filter: DeliveryFilter): Prisma.AttemptWhereInput {
  return { AND: describeFilter(filter).map((rule) => anyOf(rule.map(compareAttempt))) };
}

/**
 * The filter as a condition on the table of deliveries: the delivery's own status, when it was created, and for status
 * codes and failure reasons that one of its attempts has them.
 */
export function deliveryWhere({ statusCodes, failureReasons, ...own }: DeliveryFilter): Prisma.DeliveryWhereInput {
  const conditions: Prisma.DeliveryWhereInput[] = describeFilter(own).map((rule) => anyOf(rule.map(compareDelivery)));
  if (statusCodes != null || failureReasons != null) {
    conditions.push({ attempts: { some: attemptWhere({ statusCodes, failureReasons }) } });
  }
  return { AND: conditions };
}

/** The filter as a condition on the table of events: the event's type, and when it came in. */
export function eventWhere(
  filter: Pick<DeliveryFilter, 'tenant' | 'eventTypes' | 'from' | 'to'>,
): Prisma.EventWhereInput {
  return { AND: describeFilter(filter).map((rule) => anyOf(rule.map(compareEvent))) };
}

function anyOf<Where>(conditions: Where[]): { OR: Where[] } | typeof NOTHING {
  return conditions.length === 0 ? NOTHING : { OR: conditions };
}

function compareAttempt(comparison: Comparison): Prisma.AttemptWhereInput {
  switch (comparison.field) {
    case 'status': {
      // An attempt has ended, so it is never pending or cancelled, and its column has no such values.
      const status = Object.values(AttemptStatus).find((known) => known === comparison.equals);
      return status === undefined ? NOTHING : { status };
    }
    case 'failureReason':
      return { failureReason: comparison.equals };
    case 'statusCode':
      return { statusCode: { gte: comparison.range.from, lte: comparison.range.to } };
    case 'startedAt':
      return { startedAt: compareTime(comparison) };
    case 'eventType':
      return { eventType: compareText(comparison) };
    case 'tenant':
    case 'subscriptionId':
      return { [comparison.field]: comparison.equals };
  }
}

function compareDelivery(comparison: Comparison): Prisma.DeliveryWhereInput {
  switch (comparison.field) {
    case 'status':
      return { status: comparison.equals };
    case 'startedAt':
      return { createdAt: compareTime(comparison) };
    case 'eventType':
      return { eventType: compareText(comparison) };
    case 'tenant':
    case 'subscriptionId':
      return { [comparison.field]: comparison.equals };
    case 'statusCode':
    case 'failureReason':
      return { attempts: { some: compareAttempt(comparison) } };
  }
}

function compareEvent(comparison: Comparison): Prisma.EventWhereInput {
  switch (comparison.field) {
    case 'eventType':
      return { type: compareText(comparison) };
    case 'startedAt':
      return { createdAt: compareTime(comparison) };
    case 'tenant':
      return { tenant: comparison.equals };
    case 'subscriptionId':
    case 'status':
    case 'statusCode':
    case 'failureReason':
      return NOTHING;
  }
}

function compareTime(comparison: Comparison & { readonly field: 'startedAt' }): { gte: Date } | { lt: Date } {
  return 'before' in comparison ? { lt: comparison.before } : { gte: comparison.notBefore };
}

function compareText(
  comparison: { readonly equals: string } | { readonly startsWith: string },
): string | { startsWith: string } {
  if ('equals' in comparison) return comparison.equals;
  // Prisma makes this a LIKE without escaping; an event type can have `_` in it, which LIKE takes for any character.
  return { startsWith: comparison.startsWith.replace(/[\\%_]/g, '\\$&') };
}
