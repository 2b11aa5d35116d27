import type { Viewer } from '../auth/viewer.ts';
import type { Job } from '../delivery-log/changes/change-feeds.ts';
import { type LiveChange, watchChanges } from '../delivery-log/changes/watch-changes.ts';
import { checkFilter } from '../delivery-log/filter-input.ts';
import { type Erasure, ReplayKind, type WebhookSubscription } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { DeliveryJobType } from './delivery-job.ts';
import { ErasureType } from './erasure.ts';
import { TENANT } from './filters.ts';
import { AFTER, CURSOR, changeOrThrow, cursorOf, RESUMABLE } from './live-changes.ts';
import { readChangePosition } from './page.ts';
import { ReplayType } from './replay.ts';
import { readSearch, TenantFilterInput, TenantType } from './tenant.ts';

/*
 * Live streams for the lists of jobs and of tenants. With them, a client keeps a list up to date without reading it
 * again.
 */

type JobKind = ReplayKind | 'ERASURE';

const JobKindEnum = builder.enumType('JobKind', {
  description: 'The kind of a job.',
  values: {
    [ReplayKind.REPLAY]: { description: 'A replay.' },
    [ReplayKind.RETRY]: { description: 'The job of `retryDeliveries`.' },
    [ReplayKind.CANCEL]: { description: 'The job of `cancelDeliveries`.' },
    ERASURE: { description: 'The erasure of a tenant, which only the scope ADMIN sees.' },
  } satisfies Record<JobKind, object>,
});

function kindOf(job: Job): JobKind {
  return isErasure(job) ? 'ERASURE' : job.kind;
}

function isErasure(job: Job): job is Erasure {
  return 'eventRowId' in job;
}

// Not a union: the three have different types of `status`, so each client would need aliases.
const JobChangeType = builder.objectRef<LiveChange<Job>>('JobChange').implement({
  description:
    'A change of a job. One of `replay`, `deliveryJob` and `erasure` is the job in its present state; the other two are null.',
  fields: (t) => ({
    cursor: t.string({ description: CURSOR, resolve: cursorOf }),
    kind: t.field({ type: JobKindEnum, resolve: ({ row }) => kindOf(row) }),
    replay: t.field({
      type: ReplayType,
      nullable: true,
      resolve: ({ row }) => (isErasure(row) || row.kind !== ReplayKind.REPLAY ? null : row),
    }),
    deliveryJob: t.field({
      type: DeliveryJobType,
      nullable: true,
      resolve: ({ row }) => (isErasure(row) || row.kind === ReplayKind.REPLAY ? null : row),
    }),
    erasure: t.field({ type: ErasureType, nullable: true, resolve: ({ row }) => (isErasure(row) ? row : null) }),
  }),
});

const JobFilterInput = builder.inputType('JobFilter', {
  description: 'A filter for changes of jobs. Every given field must match.',
  fields: (t) => ({
    tenant: t.string(TENANT),
    ids: t.idList({ description: 'Any of these jobs, at most 250.' }),
    kinds: t.field({ type: [JobKindEnum], description: 'Any of these kinds.' }),
  }),
});

type JobFilter = {
  readonly tenant?: string | undefined;
  readonly ids?: readonly string[] | null | undefined;
  readonly kinds?: readonly JobKind[] | null | undefined;
};

function jobMatches({ scope }: Viewer, { tenant, ids, kinds }: JobFilter): (job: Job) => boolean {
  const wanted = ids == null ? undefined : new Set(ids);
  return (job) =>
    (scope === 'ADMIN' || !isErasure(job)) &&
    (tenant === undefined || job.tenant === tenant) &&
    wanted?.has(job.id) !== false &&
    kinds?.includes(kindOf(job)) !== false;
}

const TenantChangeType = builder.objectRef<LiveChange<WebhookSubscription>>('TenantChange').implement({
  description: 'A change of a tenant.',
  authScopes: { admin: true },
  fields: (t) => ({
    cursor: t.string({ description: CURSOR, resolve: cursorOf }),
    tenant: t.field({ type: TenantType, resolve: ({ row }) => ({ name: row.tenant }) }),
  }),
});

builder.subscriptionFields((t) => ({
  jobChanges: t.field({
    type: JobChangeType,
    description: `Each replay, job on deliveries and, with the scope ADMIN, erasure of a tenant when it starts, progresses and ends. Changes in quick succession are combined. ${RESUMABLE}`,
    args: {
      filter: t.arg({ type: JobFilterInput, description: 'The jobs to return. Default: all.' }),
      after: t.arg.string({ description: AFTER }),
    },
    subscribe: (_root, { filter, ...args }, context) => {
      const { after, problems } = readChangePosition(args.after, 'jobs');
      const { tenant } = checkFilter(context.viewer, filter, problems);
      const matches = jobMatches(context.viewer, { ...filter, tenant });
      return watchChanges(context, { feed: context.services.changes.jobs, matches, tenant, after });
    },
    resolve: changeOrThrow,
  }),
  tenantChanges: t.field({
    type: TenantChangeType,
    authScopes: { admin: true },
    description: `Each tenant when it gets its first webhook subscription, and when one of its webhook subscriptions changes as in \`subscriptionChanges\`. Changes in quick succession are combined. ${RESUMABLE} Requires the scope ADMIN.`,
    args: {
      filter: t.arg({ type: TenantFilterInput, description: 'The tenants to return. Default: all.' }),
      after: t.arg.string({ description: AFTER }),
    },
    subscribe: (_root, { filter, ...args }, context) => {
      const { after, problems } = readChangePosition(args.after, 'subscriptions');
      const search = readSearch(filter, problems).toLowerCase();
      return watchChanges(context, {
        feed: context.services.changes.subscriptions,
        matches: ({ tenant }) => tenant.toLowerCase().includes(search),
        keyOf: ({ tenant }) => tenant,
        tenant: undefined,
        after,
      });
    },
    resolve: changeOrThrow,
  }),
}));
