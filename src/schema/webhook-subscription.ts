/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

import { isUuid } from '../subscriptions/service.ts';
import { DeactivationReason } from '../generated/prisma/client.ts';
import { AttemptConnection, AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import { CircuitType } from './circuit.ts';
import { DeliveryConnection, DeliveryType } from './delivery.ts';
import { checkDeliveryFilter, type DeliveryFilter } from '../delivery-log/delivery-filter.ts';
import { attemptWhere } from '../delivery-log/delivery-filter-where.ts';
import { DeliveryFilterInput, WebhookSubscriptionFilterInput } from './filter-inputs.ts';
import { findDeliveries } from '../delivery-log/find-deliveries.ts';
import { checkFilter } from '../delivery-log/own-delivery-filter.ts';
import { LOG_PAGE, NEWEST_FIRST, PAGE, pageOf } from './page.ts';
import { tenantWhere } from '../auth/viewer.ts';

builder.prismaObject('SigningSecret', {
  description: 'A secret that signs requests. It is shown once, by the mutation that makes it, and never again.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'Not secret: attempts name it in `signingSecretIds`.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime', nullable: true, description: 'Null for the current secret.' }),
  }),
});

const DeactivationReasonEnum = builder.enumType('DeactivationReason', {
  description: 'Why we deactivated a webhook subscription.',
  values: {
    [DeactivationReason.GONE]: { description: 'Its endpoint answered with 410 Gone.' },
    [DeactivationReason.FAILING]: { description: 'No attempt had succeeded for five days.' },
  },
});

export const WebhookSubscriptionType = builder.prismaObject('WebhookSubscription', {
  description: "A tenant's URL and the event types it wants.",
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    url: t.exposeString('url'),
    description: t.exposeString('description'),
    eventTypes: t.exposeStringList('eventTypes', {
      description: 'Event types, prefixes such as `conversation.*`, or `*` for all but `webhook_subscription.*`.',
    }),
    filter: t.field({
      type: 'JSON',
      nullable: true,
      description: "What an event's data has to fulfil (docs/payload-filters.md); null means nothing.",
      select: { filter: true },
      resolve: ({ filter }): unknown => filter,
    }),
    isActive: t.exposeBoolean('isActive', { description: 'An inactive one gets no deliveries.' }),
    deactivationReason: t.expose('deactivationReason', {
      type: DeactivationReasonEnum,
      nullable: true,
      description: 'Null if it is active, or if a user deactivated it.',
    }),
    timeoutMs: t.exposeInt('timeoutMs', { description: 'How long one attempt may take.' }),
    maxInFlight: t.exposeInt('maxInFlight', {
      description: 'How many attempts each sender process may be making at a time.',
    }),
    rateLimitPerSecond: t.exposeInt('rateLimitPerSecond', {
      nullable: true,
      description: 'How many attempts may be begun per second; null means no limit.',
    }),
    failingSince: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'Since when no attempt has succeeded; null if there is no failure since the last success. After five days it is deactivated if its circuit is open, but not before twelve hours after the last notice of that.',
      select: { state: { select: { failingSince: true } } },
      resolve: ({ state }) => state?.failingSince ?? null,
    }),
    circuit: t.relation('state', {
      type: CircuitType,
      nullable: false,
      onNull: 'error',
      description: 'Whether deliveries are sent to its endpoint.',
    }),
    headerNames: t.exposeStringList('headerNames', {
      description: 'Names of the custom headers; their values are never shown.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
    secrets: t.relation('secrets', {
      description: 'Those that sign now, newest first.',
      query: (_args, { services }) => ({
        where: { OR: [{ expiresAt: null }, { expiresAt: { gt: new Date(services.database.clock.now()) } }] },
        orderBy: NEWEST_FIRST,
      }),
    }),
    deliveries: t.prismaConnection(
      {
        type: DeliveryType,
        ...PAGE,
        description: 'Newest first.',
        args: { filter: t.arg({ type: DeliveryFilterInput, description: 'Default: all of them.' }) },
        resolve: (query, subscription, { filter }, { services, signal }) =>
          findDeliveries(services.database.prisma, {
            ...{ filter: narrowed(filter, subscription), query, signal },
            find: (where, take) => services.database.prisma.delivery.findMany(pageOf({ ...query, take }, where)),
          }),
      },
      DeliveryConnection,
    ),
    deliveryLog: t.prismaConnection(
      {
        type: AttemptType,
        ...LOG_PAGE,
        description: 'Its attempts, newest first.',
        args: { filter: t.arg({ type: DeliveryFilterInput, description: 'Default: all of them.' }) },
        resolve: (query, subscription, { filter }, { services }) =>
          services.database.prisma.attempt.findMany(pageOf(query, attemptWhere(narrowed(filter, subscription)))),
      },
      AttemptConnection,
    ),
  }),
});

/** What of the filter is one subscription's: nothing, if it names another tenant or other subscriptions. */
function narrowed(
  filter: DeliveryFilter | null | undefined,
  { id, tenant }: { readonly id: string; readonly tenant: string },
): DeliveryFilter {
  checkDeliveryFilter(filter ?? {});
  const isMeant = filter?.subscriptionIds?.some((other) => other.toLowerCase() === id) !== false;
  // Without the tenant, which says nothing more: Postgres might begin with all that the tenant has.
  return {
    ...filter,
    tenant: undefined,
    subscriptionIds: isMeant && (filter?.tenant ?? tenant) === tenant ? [id] : [],
  };
}

const Edge = builder.edgeObject({ name: 'WebhookSubscriptionEdge', type: WebhookSubscriptionType });
const Connection = builder.connectionObject(
  { name: 'WebhookSubscriptionConnection', type: WebhookSubscriptionType },
  Edge,
);

builder.queryFields((t) => ({
  webhookSubscription: t.prismaField({
    type: WebhookSubscriptionType,
    nullable: true,
    description: "Null if there is none with this id, if it was deleted, or if it is another tenant's.",
    args: { id: t.arg.id({ required: true, description: 'Of the webhook subscription.' }) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.webhookSubscription.findFirst({
            ...query,
            where: { id, deletedAt: null, ...tenantWhere(viewer) },
          })
        : null,
  }),
  webhookSubscriptions: t.prismaConnection(
    {
      type: WebhookSubscriptionType,
      ...PAGE,
      description: 'Newest first, without the deleted ones.',
      args: { filter: t.arg({ type: WebhookSubscriptionFilterInput, description: 'Default: all of them.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) => {
        const tenant = checkFilter(viewer, filter);
        return services.database.prisma.webhookSubscription.findMany(
          pageOf(query, {
            deletedAt: null,
            ...tenant,
            ...(filter?.isActive != null && { isActive: filter.isActive }),
            ...(filter?.subscriptionIds != null && { id: { in: filter.subscriptionIds.filter(isUuid) } }),
          }),
        );
      },
    },
    Connection,
  ),
}));
