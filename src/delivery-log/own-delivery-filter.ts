import { InvalidInputError } from '../lib/webhook-subscription-errors.ts';
import { isUuid } from '../subscriptions/service.ts';
import type { InputProblem } from '../lib/domain-error.ts';
import type { Context } from '../schema/context.ts';
import { type DeliveryFilter, problemsOfFilter } from './delivery-filter.ts';
import { readTenant, type Viewer } from '../auth/viewer.ts';

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
export async function ownDeliveryFilter(
  { services, viewer }: Pick<Context, 'services' | 'viewer'>,
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
