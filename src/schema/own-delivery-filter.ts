import { isUuid } from '../delivery/webhook-subscriptions.ts';
import type { Context } from './context.ts';
import { checkDeliveryFilter, type DeliveryFilter } from './delivery-filter.ts';
import { tenantWhere } from './viewer.ts';

/**
 * What of a filter the viewer may mean; everything that reads or watches by a DeliveryFilter begins here. Ids of another
 * tenant's subscriptions are taken out, like those that nobody has: left in, Postgres may go through everything of such a
 * subscription to find that nothing of it is the viewer's, and the time it takes would tell. Throws an InvalidInputError.
 */
export async function ownDeliveryFilter(
  { services, viewer }: Pick<Context, 'services' | 'viewer'>,
  given: DeliveryFilter | null | undefined,
): Promise<DeliveryFilter> {
  const { tenant } = tenantWhere(viewer, given?.tenant);
  const filter = { ...given, ...(tenant !== undefined && { tenant }) };
  checkDeliveryFilter(filter);
  const { subscriptionIds } = filter;
  if (tenant === undefined || subscriptionIds == null) return filter;
  const known = await services.database.prisma.webhookSubscription.findMany({
    // Deleted ones too: their log stays.
    where: { tenant, id: { in: subscriptionIds.filter(isUuid) } },
    select: { id: true },
  });
  return { ...filter, subscriptionIds: known.map(({ id }) => id) };
}
