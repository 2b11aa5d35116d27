/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { cancelByUser } from '../delivery/queue/cancel-by-user.ts';
import { DeliveryNotPendingError, DeliveryNotRetryableError } from '../delivery/queue/delivery-errors.ts';
import { retryDelivery } from '../delivery/queue/retry-delivery.ts';
import { NotFoundError, SubscriptionInactiveError } from '../lib/webhook-subscription-errors.ts';
import { builder } from './builder.ts';
import { DeliveryType } from './delivery.ts';
import { tenantScope } from '../auth/viewer.ts';

const RetryPayload = payload('RetryDeliveryPayload', 'The delivery is attempted now, or already under way.');
const CancelPayload = payload('CancelDeliveryPayload', 'The delivery is cancelled.');

builder.mutationFields((t) => ({
  retryDelivery: t.field({
    type: RetryPayload,
    description:
      'Has a delivery that waits attempted now, even if the circuit is open, and gives one that has failed another attempt. One that is under way stays as it is.',
    args: { id: t.arg.id({ required: true, description: 'Of the delivery.' }) },
    errors: { types: [NotFoundError, DeliveryNotRetryableError, SubscriptionInactiveError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await retryDelivery(services, { id, tenant: tenantScope(viewer) });
      return { deliveryId: id };
    },
  }),
  cancelDelivery: t.field({
    type: CancelPayload,
    description:
      'Ends a pending delivery without another attempt. One that is being made is finished, and counts if it succeeds.',
    args: { id: t.arg.id({ required: true, description: 'Of the delivery.' }) },
    errors: { types: [NotFoundError, DeliveryNotPendingError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await cancelByUser(services.database, { id, tenant: tenantScope(viewer) });
      return { deliveryId: id };
    },
  }),
}));

function payload(name: string, description: string) {
  return builder.objectRef<{ readonly deliveryId: string }>(name).implement({
    description,
    fields: (t) => ({
      delivery: t.prismaField({
        type: DeliveryType,
        resolve: (query, { deliveryId }, _args, { services }) =>
          services.database.prisma.delivery.findUniqueOrThrow({ ...query, where: { id: deliveryId } }),
      }),
    }),
  });
}
