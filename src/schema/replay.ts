/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { isUuid } from '../subscriptions/service.ts';
import { ReplayStatus } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { checkFilter } from '../delivery-log/own-delivery-filter.ts';
import { PAGE, pageOf } from './page.ts';
import { tenantWhere } from '../auth/viewer.ts';

const ReplayStatusEnum = builder.enumType('ReplayStatus', {
  description: 'What became of a replay so far.',
  values: {
    [ReplayStatus.RUNNING]: { description: 'It makes new deliveries, at its rate.' },
    [ReplayStatus.COMPLETED]: { description: 'It has made all of them; some may still be on their way.' },
    [ReplayStatus.CANCELLED]: { description: 'It makes no more; those it had made are sent.' },
    [ReplayStatus.DRY_RUN]: { description: 'Nothing was made: it only counted.' },
  },
});

export const ReplayType = builder.prismaObject('Replay', {
  description: 'Past events, sent again as new deliveries.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    status: t.expose('status', { type: ReplayStatusEnum }),
    filter: t.expose('filter', { type: 'JSON', description: 'The `DeliveryFilter` it was started with.' }),
    ratePerSecond: t.exposeInt('ratePerSecond', {
      description: 'How many new deliveries it makes per second at most.',
    }),
    deliveryCount: t.exposeInt('deliveryCount', {
      description: 'How many deliveries the filter meant when it was started.',
    }),
    replayedCount: t.exposeInt('replayedCount', { description: 'How many new deliveries it has made.' }),
    skippedCount: t.exposeInt('skippedCount', {
      description:
        'How many deliveries nothing was made of: their webhook subscription is inactive or deleted, their event is no longer kept, or another one of the same event to the same subscription came before them. Of a dry run, how many would be skipped for the first two reasons.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'No delivery that is younger is replayed.' }),
    completedAt: t.expose('completedAt', { type: 'DateTime', nullable: true, description: 'Null while it runs.' }),
  }),
});

const ReplayFilterInput = builder.inputType('ReplayFilter', {
  description: 'Which replays are meant.',
  fields: (t) => ({
    tenant: t.string({ description: 'Only the admin key may name any tenant; other credentials see their own alone.' }),
  }),
});

const ReplayEdge = builder.edgeObject({ name: 'ReplayEdge', type: ReplayType });
const ReplayConnection = builder.connectionObject({ name: 'ReplayConnection', type: ReplayType }, ReplayEdge);

builder.queryFields((t) => ({
  replay: t.prismaField({
    type: ReplayType,
    nullable: true,
    description: "Null if there is none with this id, or if it is another tenant's.",
    args: { id: t.arg.id({ required: true, description: 'Of the replay.' }) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.replay.findFirst({ ...query, where: { id, ...tenantWhere(viewer) } })
        : null,
  }),
  replays: t.prismaConnection(
    {
      type: ReplayType,
      ...PAGE,
      description: 'Newest first, dry runs too.',
      args: { filter: t.arg({ type: ReplayFilterInput, description: 'Default: all of them.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) =>
        services.database.prisma.replay.findMany(pageOf(query, checkFilter(viewer, filter))),
    },
    ReplayConnection,
  ),
}));
