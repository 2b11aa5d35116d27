import { readTenant, tenantScope, tenantWhere } from '../auth/viewer.ts';
import {
  checkFilter,
  type DeliveryFilter,
  deliveryWhere,
  scopeFilterToViewer,
  storeFilter,
} from '../delivery-log/filter.ts';
import { type Replay, ReplayStatus } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { pageOf } from '../postgres/keyset.ts';
import { watchReplay } from '../replays/progress.ts';
import {
  cancelReplay,
  problemsOfRate,
  ReplayNotRunningError,
  ReplayTooLargeError,
  startReplay,
  TooManyReplaysError,
} from '../replays/service.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryFilterInput } from './delivery.ts';
import { PAGE } from './page.ts';

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

const ReplayStatusEnum = builder.enumType('ReplayStatus', {
  description: 'What became of a replay so far.',
  values: {
    [ReplayStatus.RUNNING]: { description: 'It makes new deliveries, at its rate.' },
    [ReplayStatus.COMPLETED]: { description: 'It has made all of them; some may still be on their way.' },
    [ReplayStatus.CANCELLED]: { description: 'It makes no more; those it had made are sent.' },
    [ReplayStatus.DRY_RUN]: { description: 'Nothing was made: it only counted.' },
  },
});

const ReplayType = builder.prismaObject('Replay', {
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

const DEFAULT_RATE = 50;

const StartInput = builder.inputType('StartReplayInput', {
  description: 'Which past deliveries to send again, and how fast.',
  fields: (t) => ({
    filter: t.field({
      type: DeliveryFilterInput,
      required: true,
      description:
        'The deliveries that the query `deliveries` has for it, of those that exist now; none of their fields has to be given, but for `tenant` with the admin key. Each event of them is sent once more to each subscription of them; test events are left out.',
    }),
    dryRun: t.boolean({ defaultValue: false, description: 'Only count.' }),
    ratePerSecond: t.int({
      defaultValue: DEFAULT_RATE,
      description: 'How many new deliveries to make per second at most, from 1 to 1000.',
    }),
  }),
});

const StartPayload = payload('StartReplayPayload', 'The replay runs, or has counted if it is a dry run.');
const CancelPayload = payload('CancelReplayPayload', 'The replay makes no more deliveries.');

builder.mutationFields((t) => ({
  startReplay: t.field({
    type: StartPayload,
    description: 'Sends past events again, as new deliveries, to the webhook subscriptions that are still active.',
    args: { input: t.arg({ type: StartInput, required: true, description: 'What to send again, and how fast.' }) },
    errors: { types: [InvalidInputError, TooManyReplaysError, ReplayTooLargeError] },
    resolve: async (_root, { input }, context) => ({ replay: await start(context, input) }),
  }),
  cancelReplay: t.field({
    type: CancelPayload,
    description: 'The deliveries that it has made are not cancelled.',
    args: { id: t.arg.id({ required: true, description: 'Of the replay.' }) },
    errors: { types: [NotFoundError, ReplayNotRunningError] },
    resolve: async (_root, { id }, { services, viewer }) => ({
      replay: await cancelReplay(services.database, { id, tenant: tenantScope(viewer) }),
    }),
  }),
}));

type StartReplay = {
  readonly filter: DeliveryFilter;
  readonly dryRun?: boolean | null | undefined;
  readonly ratePerSecond?: number | null | undefined;
};

async function start(context: Context, { dryRun, ratePerSecond, ...input }: StartReplay): Promise<Replay> {
  const rate = ratePerSecond ?? DEFAULT_RATE;
  const problems = problemsOfRate(rate);
  const { tenant, tenantProblem } = readTenant(context.viewer, input.filter.tenant);
  if (tenant === undefined && tenantProblem === undefined) {
    problems.push({ path: 'filter.tenant', message: 'is required: a replay belongs to one tenant' });
  }
  const filter = await scopeFilterToViewer(context, input.filter, problems);
  if (tenant === undefined) throw new Error('a replay without a tenant was accepted');
  return startReplay(context.services.database, {
    ...{ tenant, filter: storeFilter(filter), where: deliveryWhere(filter) },
    ...{ dryRun: dryRun ?? false, ratePerSecond: rate },
  });
}

function payload(name: string, description: string) {
  return builder.objectRef<{ readonly replay: Replay }>(name).implement({
    description,
    fields: (t) => ({ replay: t.field({ type: ReplayType, resolve: ({ replay }) => replay }) }),
  });
}

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
