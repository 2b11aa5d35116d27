import { tenantScope, tenantWhere } from '../auth/viewer.ts';
import type { DeliveryFilter } from '../delivery-log/filter.ts';
import { checkFilter } from '../delivery-log/filter-input.ts';
import { ReplayKind, ReplayStatus } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { pageOf } from '../postgres/keyset.ts';
import { watchReplay } from '../replays/progress.ts';
import {
  cancelReplay,
  changeReplayRate,
  ReplayNotRunningError,
  ReplayTooLargeError,
  type StartedReplay,
  TooManyReplaysError,
} from '../replays/service.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryFilterInput, TENANT } from './filters.ts';
import { PAGE } from './page.ts';
import { asRow, DRY_RUN, NEW_RATE, startJob } from './replay.ts';

const KINDS = [ReplayKind.RETRY, ReplayKind.CANCEL] as const;
export const WHERE_DELIVERY_JOB = { kind: { in: [...KINDS] } };

const KindEnum = builder.enumType('DeliveryJobKind', {
  description: 'The change that a job makes to deliveries.',
  values: {
    [ReplayKind.RETRY]: { description: '`retryDeliveries`: each delivery gets another attempt.' },
    [ReplayKind.CANCEL]: { description: '`cancelDeliveries`: each delivery is cancelled.' },
  },
});

const StatusEnum = builder.enumType('DeliveryJobStatus', {
  description: 'The state of a job on deliveries.',
  values: {
    [ReplayStatus.RUNNING]: { description: 'The job is changing deliveries, at its rate.' },
    [ReplayStatus.COMPLETED]: { description: 'All deliveries were changed or skipped.' },
    [ReplayStatus.CANCELLED]: { description: 'The job was cancelled. Changes that it had made remain.' },
    DRY_RUN: { description: 'Deliveries were only counted. No stored job has this state.' },
  },
});

export const DeliveryJobType = builder.prismaObject('Replay', {
  variant: 'DeliveryJob',
  description: 'A job that retries or cancels many deliveries.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    kind: t.field({
      type: KindEnum,
      resolve: ({ kind }) => (kind === ReplayKind.CANCEL ? kind : ReplayKind.RETRY),
    }),
    status: t.expose('status', { type: StatusEnum }),
    filter: t.expose('filter', { type: 'JSON', description: 'The `DeliveryFilter` of the job.' }),
    ratePerSecond: t.exposeInt('ratePerSecond', {
      description: 'The maximum number of deliveries changed per second.',
    }),
    deliveryCount: t.exposeInt('deliveryCount', {
      description: 'The number of deliveries that matched the filter at the start.',
    }),
    changedCount: t.exposeInt('replayedCount', {
      description: 'The number of deliveries retried or cancelled so far.',
    }),
    skippedCount: t.exposeInt('skippedCount', {
      description:
        'The number of deliveries skipped: they had changed meanwhile, were in flight or on their way to a sender; for a retry also, their webhook subscription is inactive or deleted, or their event is no longer kept or was redacted.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'The time of the start. Later deliveries are not changed.',
    }),
    completedAt: t.expose('completedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The end of the job; null while it is running.',
    }),
  }),
});

const FilterInput = builder.inputType('DeliveryJobFilter', {
  description: 'A filter for jobs on deliveries.',
  fields: (t) => ({
    tenant: t.string(TENANT),
  }),
});

const Edge = builder.edgeObject({ name: 'DeliveryJobEdge', type: DeliveryJobType });
const Connection = builder.connectionObject({ name: 'DeliveryJobConnection', type: DeliveryJobType }, Edge);

const ID = { required: true, description: 'The id of the job.' } as const;

builder.queryFields((t) => ({
  deliveryJob: t.prismaField({
    type: DeliveryJobType,
    nullable: true,
    description: 'The job on deliveries with this id; null if it does not exist or belongs to another tenant.',
    args: { id: t.arg.id(ID) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.replay.findFirst({
            ...query,
            where: { id, ...WHERE_DELIVERY_JOB, ...tenantWhere(viewer) },
          })
        : null,
  }),
  deliveryJobs: t.prismaConnection(
    {
      type: DeliveryJobType,
      ...PAGE,
      description: 'The jobs that retry or cancel deliveries, newest first, without dry runs.',
      args: { filter: t.arg({ type: FilterInput, description: 'The jobs to return. Default: all.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) =>
        services.database.prisma.replay.findMany(
          pageOf(query, { ...WHERE_DELIVERY_JOB, ...checkFilter(viewer, filter) }),
        ),
    },
    Connection,
  ),
}));

const RETRY_RATE = 50;
const CANCEL_RATE = 500;

function inputType(
  name: string,
  texts: { readonly description: string; readonly filter: string; readonly rate: number },
) {
  return builder.inputType(name, {
    description: texts.description,
    fields: (t) => ({
      filter: t.field({
        type: DeliveryFilterInput,
        required: true,
        description: `${texts.filter} \`tenant\` is required with the scope ADMIN. Test events are excluded.`,
      }),
      dryRun: t.boolean({ defaultValue: false, description: DRY_RUN }),
      ratePerSecond: t.int({
        defaultValue: texts.rate,
        description: 'The maximum number of deliveries changed per second, from 1 to 1000.',
      }),
    }),
  });
}

const RetryInput = inputType('RetryDeliveriesInput', {
  description: 'The deliveries to retry, and the rate.',
  filter: 'The deliveries. Default of `statuses`: FAILURE. With PENDING, waiting deliveries become due now.',
  rate: RETRY_RATE,
});
const CancelInput = inputType('CancelDeliveriesInput', {
  description: 'The deliveries to cancel, and the rate.',
  filter: 'The deliveries. Only pending ones are cancelled.',
  rate: CANCEL_RATE,
});

function payload(name: string, description: string) {
  return builder.objectRef<{ readonly job: StartedReplay }>(name).implement({
    description,
    fields: (t) => ({ job: t.field({ type: DeliveryJobType, resolve: ({ job }) => asRow(job) }) }),
  });
}

const STARTED = 'The job was started, or a dry run has counted its deliveries.';
const RetryPayload = payload('RetryDeliveriesPayload', STARTED);
const CancelPayload = payload('CancelDeliveriesPayload', STARTED);
const CancelJobPayload = payload('CancelDeliveryJobPayload', 'The job changes no more deliveries.');
const RatePayload = payload('ChangeDeliveryJobRatePayload', 'The job has the new rate.');

const INPUT = 'The deliveries and the rate.';

builder.mutationFields((t) => ({
  retryDeliveries: t.field({
    type: RetryPayload,
    audit: 'DeliveryJob',
    description:
      'Retries deliveries that match a filter, at a rate. Unlike `retryDelivery`, it observes open circuits, pauses and the limits of the webhook subscriptions.',
    args: { input: t.arg({ type: RetryInput, required: true, description: INPUT }) },
    errors: { types: [InvalidInputError, TooManyReplaysError, ReplayTooLargeError] },
    resolve: async (_root, { input }, context) => ({
      job: await start(context, { ...input, kind: ReplayKind.RETRY, status: 'FAILURE', defaultRate: RETRY_RATE }),
    }),
  }),
  cancelDeliveries: t.field({
    type: CancelPayload,
    audit: 'DeliveryJob',
    description: 'Cancels pending deliveries that match a filter, at a rate. Attempts in flight are finished.',
    args: { input: t.arg({ type: CancelInput, required: true, description: INPUT }) },
    errors: { types: [InvalidInputError, TooManyReplaysError, ReplayTooLargeError] },
    resolve: async (_root, { input }, context) => ({
      job: await start(context, { ...input, kind: ReplayKind.CANCEL, status: 'PENDING', defaultRate: CANCEL_RATE }),
    }),
  }),
  cancelDeliveryJob: t.field({
    type: CancelJobPayload,
    audit: 'DeliveryJob',
    description: 'Ends a job on deliveries. Changes that it has made remain.',
    args: { id: t.arg.id(ID) },
    errors: { types: [NotFoundError, ReplayNotRunningError] },
    resolve: async (_root, { id }, { services, viewer }) => ({
      job: await cancelReplay(services.database, { id, tenant: tenantScope(viewer), kinds: KINDS }),
    }),
  }),
  changeDeliveryJobRate: t.field({
    type: RatePayload,
    audit: 'DeliveryJob',
    description: 'Changes the rate of a running job on deliveries, effective within about a second.',
    args: { id: t.arg.id(ID), ratePerSecond: t.arg.int(NEW_RATE) },
    errors: { types: [NotFoundError, InvalidInputError, ReplayNotRunningError] },
    resolve: async (_root, args, { services, viewer }) => ({
      job: await changeReplayRate(services.database, { ...args, tenant: tenantScope(viewer), kinds: KINDS }),
    }),
  }),
}));

type Start = {
  readonly kind: (typeof KINDS)[number];
  /** The status of the deliveries, unless the filter names statuses. */
  readonly status: 'FAILURE' | 'PENDING';
  readonly filter: DeliveryFilter;
  readonly dryRun?: boolean | null | undefined;
  readonly ratePerSecond?: number | null | undefined;
  readonly defaultRate: number;
};

function start(
  context: Context,
  { kind, status, filter, dryRun, ratePerSecond, defaultRate }: Start,
): Promise<StartedReplay> {
  const statuses = filter.statuses ?? [status];
  return startJob(context, {
    kind,
    filter: { ...filter, statuses },
    dryRun,
    ratePerSecond: ratePerSecond ?? defaultRate,
  });
}

builder.subscriptionField('deliveryJobProgress', (t) =>
  t.field({
    type: DeliveryJobType,
    description: 'The current state of the job, then each change, at most one per second. Ends with the job.',
    args: { id: t.arg.id(ID) },
    subscribe: async (_root, { id }, { services, viewer, stopping }) => {
      const where = { id, ...WHERE_DELIVERY_JOB, ...tenantWhere(viewer) };
      const replay = isUuid(id) ? await services.database.prisma.replay.findFirst({ where }) : null;
      if (replay === null) throw new NotFoundError('job');
      return watchReplay(services.replayFeed, { replay, stopping });
    },
    resolve: (job) => job,
  }),
);
