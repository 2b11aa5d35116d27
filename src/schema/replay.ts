import { readTenant, tenantScope, tenantWhere } from '../auth/viewer.ts';
import { findDeliveries } from '../delivery-log/delivery-search.ts';
import { type DeliveryFilter, deliveryWhere } from '../delivery-log/filter.ts';
import {
  checkFilter,
  parseStoredFilter,
  referencesOf,
  resolveFilter,
  scopeFilterToViewer,
  serializeFilter,
} from '../delivery-log/filter-input.ts';
import { type Delivery, type Replay, ReplayKind, ReplayStatus } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { NEWEST_FIRST, pageOf } from '../postgres/keyset.ts';
import { watchReplay } from '../replays/progress.ts';
import {
  cancelReplay,
  changeReplayRate,
  problemsOfRate,
  ReplayNotRunningError,
  ReplayTooLargeError,
  type StartedReplay,
  startReplay,
  TooManyReplaysError,
} from '../replays/service.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryType } from './delivery.ts';
import { DeliveryCountsType } from './delivery-counts.ts';
import { DeliveryFilterInput, TENANT } from './filters.ts';
import { PAGE } from './page.ts';

const ReplayStatusEnum = builder.enumType('ReplayStatus', {
  description: 'The state of a replay.',
  values: {
    [ReplayStatus.RUNNING]: { description: 'The replay is creating deliveries, at its rate.' },
    [ReplayStatus.COMPLETED]: { description: 'All deliveries were created; some may still be pending.' },
    [ReplayStatus.CANCELLED]: { description: 'The replay was cancelled. The deliveries that it had created are sent.' },
    DRY_RUN: { description: 'Deliveries were only counted, and none were created. No stored replay has this state.' },
  },
});

type Skips = Pick<Replay, 'skippedCount' | 'skippedInactiveCount' | 'skippedWithoutEventCount'>;

const SkipsType = builder.objectRef<Skips>('ReplaySkips').implement({
  description: 'The number of deliveries that a replay skipped, by the reason.',
  fields: (t) => ({
    withoutEvent: t.exposeInt('skippedWithoutEventCount', {
      description: 'The event is no longer kept or was redacted.',
    }),
    inactive: t.exposeInt('skippedInactiveCount', { description: 'The webhook subscription is inactive or deleted.' }),
    duplicate: t.int({
      description:
        'An earlier delivery was of the same event to the same webhook subscription. A dry run does not count them.',
      resolve: ({ skippedCount, skippedInactiveCount, skippedWithoutEventCount }) =>
        Math.max(0, skippedCount - skippedInactiveCount - skippedWithoutEventCount),
    }),
  }),
});

/** Maximum deliveries of a sample. */
const MAX_SAMPLE = 5;

export const ReplayType = builder.prismaObject('Replay', {
  description: 'A job that sends past events again, as new deliveries.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    status: t.expose('status', { type: ReplayStatusEnum }),
    filter: t.expose('filter', { type: 'JSON', description: 'The `DeliveryFilter` that the replay was started with.' }),
    ratePerSecond: t.exposeInt('ratePerSecond', {
      description: 'The maximum number of deliveries created per second.',
    }),
    deliveryCount: t.exposeInt('deliveryCount', {
      description: 'The number of deliveries that matched the filter at the start.',
    }),
    replayedCount: t.exposeInt('replayedCount', { description: 'The number of deliveries created so far.' }),
    skippedCount: t.exposeInt('skippedCount', {
      description:
        'The number of deliveries skipped: their webhook subscription is inactive or deleted, their event is no longer kept or was redacted, or an earlier one was of the same event to the same subscription. A dry run counts only the first two reasons.',
    }),
    skippedBy: t.field({
      type: SkipsType,
      description: 'The number of deliveries skipped, by the reason.',
      resolve: (replay) => replay,
    }),
    sample: t.prismaField({
      type: [DeliveryType],
      nullable: true,
      complexity: { field: 100, multiplier: MAX_SAMPLE },
      description: `Past deliveries that match the filter, newest first, at most ${MAX_SAMPLE}, without those after the start of the replay.`,
      resolve: (query, replay, _args, context) => sampleOf(context, { query, replay }),
    }),
    outcome: t.field({
      type: DeliveryCountsType,
      complexity: 20,
      description: 'The number of deliveries that the replay has created, by status, counted up to 1,000 deliveries.',
      resolve: ({ id }, _args, { countDeliveriesOfReplay }) => countDeliveriesOfReplay(id),
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'The time of the start. Later deliveries are not replayed.',
    }),
    completedAt: t.expose('completedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The end of the replay; null while it is running.',
    }),
  }),
});

type SampleOf = { readonly query: object; readonly replay: Pick<Replay, 'tenant' | 'filter' | 'createdAt'> };

async function sampleOf({ services, signal }: Context, { query, replay }: SampleOf): Promise<Delivery[]> {
  const { tenant, createdAt } = replay;
  const filter = await resolveFilter(referencesOf({ services }), { ...parseStoredFilter(replay.filter), tenant });
  const end = new Date(createdAt.getTime() + 1);
  const to = filter.to != null && filter.to < end ? filter.to : end;
  return findDeliveries(services.database.prisma, {
    filter: { ...filter, to },
    query: { take: MAX_SAMPLE },
    signal,
    find: (where, take) =>
      services.database.prisma.delivery.findMany({
        ...query,
        where: { AND: [where, { isTest: false }] },
        orderBy: NEWEST_FIRST,
        take,
      }),
  });
}

const ReplayFilterInput = builder.inputType('ReplayFilter', {
  description: 'A filter for replays.',
  fields: (t) => ({
    tenant: t.string(TENANT),
  }),
});

const ReplayEdge = builder.edgeObject({ name: 'ReplayEdge', type: ReplayType });
const ReplayConnection = builder.connectionObject({ name: 'ReplayConnection', type: ReplayType }, ReplayEdge);

/** The other jobs on deliveries have a type of their own (delivery-job.ts). */
export const WHERE_REPLAY = { kind: ReplayKind.REPLAY };

builder.queryFields((t) => ({
  replay: t.prismaField({
    type: ReplayType,
    nullable: true,
    description: 'The replay with this id; null if it does not exist or belongs to another tenant.',
    args: { id: t.arg.id({ required: true, description: 'The id of the replay.' }) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.replay.findFirst({
            ...query,
            where: { id, ...WHERE_REPLAY, ...tenantWhere(viewer) },
          })
        : null,
  }),
  replays: t.prismaConnection(
    {
      type: ReplayType,
      ...PAGE,
      description: 'The replays, newest first, without dry runs.',
      args: { filter: t.arg({ type: ReplayFilterInput, description: 'The replays to return. Default: all.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) =>
        services.database.prisma.replay.findMany(pageOf(query, { ...WHERE_REPLAY, ...checkFilter(viewer, filter) })),
    },
    ReplayConnection,
  ),
}));

const DEFAULT_RATE = 50;

/** The argument of the mutations that change the rate of a job. */
export const NEW_RATE = { required: true, description: 'The new rate, from 1 to 1000.' } as const;

export const DRY_RUN =
  'Whether deliveries are only counted. The answer is then not stored: its `id` finds nothing, and the audit log has no entry.';

const StartInput = builder.inputType('StartReplayInput', {
  description: 'The past deliveries to send again, and the rate.',
  fields: (t) => ({
    filter: t.field({
      type: DeliveryFilterInput,
      required: true,
      description:
        'The deliveries to replay: those that the query `deliveries` returns for this filter now, without test events. `tenant` is required with the scope ADMIN; every other field is optional. Each event is sent once more to each webhook subscription among these deliveries.',
    }),
    dryRun: t.boolean({ defaultValue: false, description: DRY_RUN }),
    ratePerSecond: t.int({
      defaultValue: DEFAULT_RATE,
      description: 'The maximum number of deliveries created per second, from 1 to 1000.',
    }),
  }),
});

const StartPayload = payload('StartReplayPayload', 'The replay was started, or a dry run has counted its deliveries.');
const CancelPayload = payload('CancelReplayPayload', 'The replay creates no more deliveries.');
const RatePayload = payload('ChangeReplayRatePayload', 'The replay has the new rate.');

builder.mutationFields((t) => ({
  startReplay: t.field({
    audit: 'Replay',
    type: StartPayload,
    description: 'Sends past events again, as new deliveries, to webhook subscriptions that are still active.',
    args: { input: t.arg({ type: StartInput, required: true, description: 'The deliveries and the rate.' }) },
    errors: { types: [InvalidInputError, TooManyReplaysError, ReplayTooLargeError] },
    resolve: async (_root, { input }, context) => ({
      replay: await startJob(context, {
        ...input,
        kind: ReplayKind.REPLAY,
        ratePerSecond: input.ratePerSecond ?? DEFAULT_RATE,
      }),
    }),
  }),
  cancelReplay: t.field({
    audit: 'Replay',
    type: CancelPayload,
    description: 'Ends a replay. The deliveries that it has created are not cancelled.',
    args: { id: t.arg.id({ required: true, description: 'The id of the replay.' }) },
    errors: { types: [NotFoundError, ReplayNotRunningError] },
    resolve: async (_root, { id }, { services, viewer }) => ({
      replay: await cancelReplay(services.database, { id, tenant: tenantScope(viewer) }),
    }),
  }),
  changeReplayRate: t.field({
    audit: 'Replay',
    type: RatePayload,
    description: 'Changes the rate of a running replay, effective within about a second.',
    args: {
      id: t.arg.id({ required: true, description: 'The id of the replay.' }),
      ratePerSecond: t.arg.int(NEW_RATE),
    },
    errors: { types: [NotFoundError, InvalidInputError, ReplayNotRunningError] },
    resolve: async (_root, args, { services, viewer }) => ({
      replay: await changeReplayRate(services.database, { ...args, tenant: tenantScope(viewer) }),
    }),
  }),
}));

export type NewJob = {
  readonly kind: ReplayKind;
  readonly filter: DeliveryFilter;
  readonly dryRun?: boolean | null | undefined;
  readonly ratePerSecond: number;
};

/** Starts a job on the deliveries that match the filter. */
export async function startJob(
  context: Context,
  { kind, dryRun, ratePerSecond, ...input }: NewJob,
): Promise<StartedReplay> {
  const problems = problemsOfRate(ratePerSecond);
  const { tenant, tenantProblem } = readTenant(context.viewer, input.filter.tenant);
  if (tenant === undefined && tenantProblem === undefined) {
    problems.push({ path: 'filter.tenant', message: 'is required: the deliveries belong to one tenant' });
  }
  const filter = await scopeFilterToViewer(context, input.filter, { use: 'deliveries', problems });
  if (tenant === undefined) throw new Error('a job without a tenant was accepted');
  return startReplay(context.services.database, {
    tenant,
    kind,
    filter: serializeFilter(filter),
    where: deliveryWhere(await resolveFilter(referencesOf(context), filter)),
    dryRun: dryRun ?? false,
    ratePerSecond,
  });
}

/** `as`: the GraphQL enums contain the status of a dry run, which no stored row has. */
export function asRow(replay: StartedReplay): Replay {
  return replay as Replay;
}

function payload(name: string, description: string) {
  return builder.objectRef<{ readonly replay: StartedReplay }>(name).implement({
    description,
    fields: (t) => ({ replay: t.field({ type: ReplayType, resolve: ({ replay }) => asRow(replay) }) }),
  });
}

builder.subscriptionField('replayProgress', (t) =>
  t.field({
    type: ReplayType,
    description: 'The current state of the replay, then each change, at most one per second. Ends with the replay.',
    args: { id: t.arg.id({ required: true, description: 'The id of the replay.' }) },
    subscribe: async (_root, { id }, { services, viewer, stopping }) => {
      const where = { id, ...WHERE_REPLAY, ...tenantWhere(viewer) };
      const replay = isUuid(id) ? await services.database.prisma.replay.findFirst({ where }) : null;
      if (replay === null) throw new NotFoundError('replay');
      return watchReplay(services.replayFeed, { replay, stopping });
    },
    resolve: (replay) => replay,
  }),
);
