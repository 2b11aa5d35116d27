import { countDeliveries, type DeliveryCounts, MAX_PER_STATUS } from '../delivery-log/delivery-counts.ts';
import { readFilter } from '../delivery-log/filter-input.ts';
import { builder } from './builder.ts';
import { DeliveryFilterInput } from './filters.ts';

export const DeliveryCountsType = builder.objectRef<DeliveryCounts>('DeliveryCounts').implement({
  description: 'The number of deliveries of each status.',
  fields: (t) => ({
    pending: t.exposeInt('PENDING'),
    success: t.exposeInt('SUCCESS'),
    failure: t.exposeInt('FAILURE'),
    cancelled: t.exposeInt('CANCELLED'),
    isExact: t.exposeBoolean('isExact', {
      description: 'Whether every delivery was counted. If not, the real numbers are larger.',
    }),
  }),
});

builder.queryField('deliveryCounts', (t) =>
  t.field({
    type: DeliveryCountsType,
    complexity: 2_000,
    description: `The number of deliveries that match a filter, by status, each counted up to ${MAX_PER_STATUS.toLocaleString('en')}.`,
    args: { filter: t.arg({ type: DeliveryFilterInput, description: 'The deliveries to count. Default: all.' }) },
    resolve: async (_root, args, context) => {
      const filter = await readFilter(context, args.filter, { use: 'deliveries' });
      return countDeliveries(context.services.database, { filter, signal: context.signal });
    },
  }),
);
