import { isUuid } from '../subscriptions/service.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import type { DeliveryFilter } from './delivery-filter.ts';
import { deliveryWhere } from './delivery-filter-where.ts';

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
