import type { DeliveryCounts } from '../delivery-log/counts.ts';
import { builder } from './builder.ts';

export const DeliveryCountsType = builder.objectRef<DeliveryCounts>('DeliveryCounts').implement({
  description: 'The number of deliveries of each status.',
  fields: (t) => ({
    pending: t.exposeInt('PENDING'),
    success: t.exposeInt('SUCCESS'),
    failure: t.exposeInt('FAILURE'),
    cancelled: t.exposeInt('CANCELLED'),
    isExact: t.exposeBoolean('isExact', {
      description: 'Whether every delivery was counted. If not, there are more than the counts say.',
    }),
  }),
});
