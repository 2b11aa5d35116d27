import { NotFoundError } from '../lib/webhook-subscription-errors.ts';
import { isUuid } from '../subscriptions/service.ts';
import { builder } from './builder.ts';
import { ReplayType } from './replay.ts';
import { tenantWhere } from '../auth/viewer.ts';
import { watchReplay } from '../replays/watch-replay.ts';

builder.subscriptionField('replayProgress', (t) =>
  t.field({
    type: ReplayType,
    description:
      'The replay as it is now, then at most once a second whenever it has changed. Ends when the replay does.',
    args: { id: t.arg.id({ required: true, description: 'Of the replay.' }) },
    subscribe: async (_root, { id }, { services, viewer, stopping }) => {
      const where = { id, ...tenantWhere(viewer) };
      const replay = isUuid(id) ? await services.database.prisma.replay.findFirst({ where }) : null;
      if (replay === null) throw new NotFoundError('replay');
      return watchReplay(services.replayFeed, { replay, stopping });
    },
    resolve: (replay) => replay,
  }),
);
