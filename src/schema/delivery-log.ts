/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { AttemptConnection, AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import { attemptWhere } from '../delivery-log/delivery-filter-where.ts';
import { DeliveryFilterInput } from './filter-inputs.ts';
import { ownDeliveryFilter } from '../delivery-log/own-delivery-filter.ts';
import { LOG_PAGE, pageOf, readLogPosition } from './page.ts';
import { watchDeliveryLog } from '../delivery-log/watch-delivery-log.ts';

const NO_POSITION = { position: undefined, problems: [] };

builder.queryField('deliveryLog', (t) =>
  t.prismaConnection(
    {
      type: AttemptType,
      ...LOG_PAGE,
      description: 'The attempts, newest first.',
      args: { filter: t.arg({ type: DeliveryFilterInput, description: 'Default: all of them.' }) },
      resolve: async (query, _root, args, context) => {
        const filter = await ownDeliveryFilter(context, args.filter);
        return context.services.database.prisma.attempt.findMany(pageOf(query, attemptWhere(filter)));
      },
    },
    AttemptConnection,
  ),
);

builder.subscriptionField('deliveryLog', (t) =>
  t.field({
    type: AttemptType,
    description:
      'Each attempt as it is made. With `after`, first those that were made since, oldest first: subscribe again with the last `cursor` that arrived, and nothing is missed or comes twice. Who reads slowly gets them later, from the database.',
    args: {
      filter: t.arg({ type: DeliveryFilterInput, description: 'Default: all of them.' }),
      after: t.arg.string({ description: 'The `cursor` of an attempt that arrived, or of an edge of `deliveryLog`.' }),
    },
    subscribe: async (_root, args, context) => {
      const { position: after, problems } = args.after == null ? NO_POSITION : readLogPosition(args.after, 'after');
      const filter = await ownDeliveryFilter(context, args.filter, problems);
      return watchDeliveryLog(context, { filter, after });
    },
    resolve: (emission) => {
      if (emission.kind === 'failure') throw emission.error;
      return emission.attempt;
    },
  }),
);
