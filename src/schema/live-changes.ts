import { formatPrismaCursor } from '@pothos/plugin-prisma';
import type { EventWithoutData } from '../delivery-log/changes/change-feeds.ts';
import { type LiveChange, presentPosition, watchChanges } from '../delivery-log/changes/watch-changes.ts';
import { deliveryMatches, eventMatches, rejectionMatches } from '../delivery-log/filter.ts';
import { checkFilter, readFilter, scopeEventFilter, scopeFilterToViewer } from '../delivery-log/filter-input.ts';
import type { Emission } from '../delivery-log/live-buffer.ts';
import type { Delivery, RejectedEvent, WebhookSubscription } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { DeliveryType } from './delivery.ts';
import { EventType, RejectedEventType } from './event.ts';
import { DeliveryFilterInput, EventFilterInput, RejectedEventFilterInput, TENANT } from './filters.ts';
import { readChangePosition } from './page.ts';
import { WebhookSubscriptionType } from './webhook-subscription.ts';

/* The live streams of changes (ADR 31). The delivery log has its own stream, beside its query (delivery.ts). */

export const CURSOR = 'A cursor for `after` that continues behind this change.';
export const AFTER = 'The `cursor` of a change of this stream, or `changesCursor`. It is valid for an hour.';
export const RESUMABLE =
  'With `after`, the changes since that cursor come first: a client that subscribes again with its last `cursor` misses none and gets none twice. After more than an hour the error is CURSOR_EXPIRED.';

export const cursorOf = ({ cursor }: LiveChange<unknown>) => formatPrismaCursor({ id: cursor }, 'id');

/** Throws the error of a stream that failed. */
export function changeOrThrow<Row>(emission: Emission<LiveChange<Row>>): LiveChange<Row> {
  if (emission.kind === 'failure') throw emission.error;
  return emission.value;
}

const DeliveryChangeType = builder.objectRef<LiveChange<Delivery>>('DeliveryChange').implement({
  description: 'A change of a delivery.',
  fields: (t) => ({
    cursor: t.string({ description: CURSOR, resolve: cursorOf }),
    delivery: t.field({
      type: DeliveryType,
      description: 'The delivery as it is now, which may be later than this change.',
      resolve: ({ row }) => row,
    }),
  }),
});

const SubscriptionChangeType = builder.objectRef<LiveChange<WebhookSubscription>>('SubscriptionChange').implement({
  description: 'A change of a webhook subscription.',
  fields: (t) => ({
    cursor: t.string({ description: CURSOR, resolve: cursorOf }),
    subscription: t.field({
      type: WebhookSubscriptionType,
      description: 'The webhook subscription as it is now; it has a `deletedAt` if it was deleted.',
      resolve: ({ row }) => row,
    }),
  }),
});

const LoggedEventType = builder.objectRef<LiveChange<EventWithoutData>>('LoggedEvent').implement({
  description: 'An event in the live log of events.',
  fields: (t) => ({
    cursor: t.string({ description: CURSOR, resolve: cursorOf }),
    event: t.field({ type: EventType, resolve: ({ row }) => row }),
  }),
});

const LoggedRejectionType = builder.objectRef<LiveChange<RejectedEvent>>('LoggedRejectedEvent').implement({
  description: 'A rejected event in the live log of rejected events.',
  fields: (t) => ({
    cursor: t.string({ description: CURSOR, resolve: cursorOf }),
    rejectedEvent: t.field({ type: RejectedEventType, resolve: ({ row }) => row }),
  }),
});

const SubscriptionChangeFilter = builder.inputType('SubscriptionChangeFilter', {
  description: 'A filter for changes of webhook subscriptions. Every given field must match.',
  fields: (t) => ({
    tenant: t.string(TENANT),
    subscriptionIds: t.idList({ description: 'Any of these webhook subscriptions, at most 250.' }),
  }),
});

builder.queryField('changesCursor', (t) =>
  t.string({
    description:
      'A cursor of the present for `after` of `deliveryChanges`, `subscriptionChanges`, `jobChanges`, `tenantChanges`, `eventLog` and `rejectedEventLog`. A client that reads it, then a list, and then subscribes with it misses no change in between. It is valid for an hour.',
    resolve: async (_root, _args, context) =>
      formatPrismaCursor({ id: await presentPosition(context, context.services.changes.deliveries) }, 'id'),
  }),
);

builder.subscriptionFields((t) => ({
  deliveryChanges: t.field({
    type: DeliveryChangeType,
    description: `Each delivery when it is created, when an attempt of it is logged, when a user retries or cancels it, and when it is cancelled with its webhook subscription or because its event is redacted. Changes in quick succession are combined. ${RESUMABLE}`,
    args: {
      filter: t.arg({
        type: DeliveryFilterInput,
        description:
          'The deliveries to return, by their present state. Default: all. Conditions on attempts and `waitingFor` are not possible here.',
      }),
      after: t.arg.string({ description: AFTER }),
    },
    subscribe: async (_root, args, context) => {
      const { after, problems } = readChangePosition(args.after, 'deliveries');
      const filter = await readFilter(context, args.filter, { use: 'delivery changes', problems });
      return watchChanges(context, {
        feed: context.services.changes.deliveries,
        matches: deliveryMatches(filter),
        tenant: filter.tenant ?? undefined,
        after,
      });
    },
    resolve: changeOrThrow,
  }),
  subscriptionChanges: t.field({
    type: SubscriptionChangeType,
    description: `Each webhook subscription when it is created, changed, paused, resumed, deactivated or deleted, when a secret of it is rotated or ends early, when its circuit opens or closes, and when it begins or ceases to fail. ${RESUMABLE}`,
    args: {
      filter: t.arg({
        type: SubscriptionChangeFilter,
        description: 'The webhook subscriptions to return. Default: all.',
      }),
      after: t.arg.string({ description: AFTER }),
    },
    subscribe: async (_root, args, context) => {
      const { after, problems } = readChangePosition(args.after, 'subscriptions');
      const { tenant, subscriptionIds } = await scopeFilterToViewer(context, args.filter, { problems });
      const ids = subscriptionIds == null ? undefined : new Set(subscriptionIds);
      return watchChanges(context, {
        feed: context.services.changes.subscriptions,
        matches: (row) => (tenant == null || row.tenant === tenant) && ids?.has(row.id) !== false,
        tenant: tenant ?? undefined,
        after,
      });
    },
    resolve: changeOrThrow,
  }),
  eventLog: t.field({
    type: LoggedEventType,
    description: `Each event as it is recorded. ${RESUMABLE}`,
    args: {
      filter: t.arg({ type: EventFilterInput, description: 'The events to return. Default: all.' }),
      after: t.arg.string({ description: AFTER }),
    },
    subscribe: (_root, args, context) => {
      const { after, problems } = readChangePosition(args.after, 'events');
      const filter = scopeEventFilter(context.viewer, args.filter, problems);
      const matches = eventMatches(filter);
      const tenant = filter.tenant ?? undefined;
      return watchChanges(context, { feed: context.services.changes.events, matches, tenant, after });
    },
    resolve: changeOrThrow,
  }),
  rejectedEventLog: t.field({
    type: LoggedRejectionType,
    description: `Each rejected event as it is recorded. ${RESUMABLE}`,
    args: {
      filter: t.arg({ type: RejectedEventFilterInput, description: 'The rejected events to return. Default: all.' }),
      after: t.arg.string({ description: AFTER }),
    },
    subscribe: (_root, args, context) => {
      const { after, problems } = readChangePosition(args.after, 'rejected_events');
      const { tenant } = checkFilter(context.viewer, args.filter, problems);
      const matches = rejectionMatches({ ...args.filter, tenant });
      return watchChanges(context, { feed: context.services.changes.rejectedEvents, matches, tenant, after });
    },
    resolve: changeOrThrow,
  }),
}));
