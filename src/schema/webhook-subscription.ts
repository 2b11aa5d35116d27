import type { InputFieldsFromShape } from '@pothos/core';
import { readTenant, tenantScope, tenantWhere } from '../auth/viewer.ts';
import { TargetRejectedError } from '../delivery/http/egress-policy.ts';
import { attemptWhere, checkDeliveryFilter, checkFilter, type DeliveryFilter } from '../delivery-log/filter.ts';
import { findDeliveries } from '../delivery-log/search.ts';
import { DeactivationReason, type WebhookSubscription } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { NEWEST_FIRST, pageOf } from '../postgres/keyset.ts';
import { TooManySecretsError, TooManySubscriptionsError } from '../subscriptions/errors.ts';
import { InvalidHeadersError } from '../subscriptions/headers.ts';
import {
  createWebhookSubscription,
  deleteWebhookSubscription,
  rotateWebhookSecret,
  type SubscriptionWithSecret,
  updateWebhookSubscription,
} from '../subscriptions/service.ts';
import {
  describeInput,
  describeOutput,
  type RequiredSettings,
  SETTING_ROWS,
  type Setting,
  type SettingName,
  type WebhookSubscriptionSettings,
} from '../subscriptions/settings.ts';
import { AttemptConnection, AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import { DeliveryConnection, DeliveryFilterInput, DeliveryType, WebhookSubscriptionFilterInput } from './delivery.ts';
import { LOG_PAGE, PAGE } from './page.ts';

type Types = typeof builder.$inferSchemaTypes;

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

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
    deactivationReason: t.expose('deactivationReason', {
      type: DeactivationReasonEnum,
      nullable: true,
      description: 'Null if it is active, or if a user deactivated it.',
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

// A field for each setting but the headers, whose values are never shown.
builder.prismaObjectFields(WebhookSubscriptionType, (t) =>
  Object.fromEntries(
    SETTING_ROWS.flatMap(([name, { type, default: value }]) => {
      if (name === 'headers' || type === 'HeaderList') return [];
      const field = t.field({
        type: type === 'StringList' ? t.listRef('String') : type,
        nullable: value === null,
        description: describeOutput(name),
        resolve: (subscription): unknown => subscription[name],
      });
      return [[name, field]];
    }),
  ),
);

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

const HeaderInput = builder.inputType('HeaderInput', {
  description: 'A custom header, sent with every request. Its value is encrypted and never shown again.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description:
        'At most 128 characters, and not twice, in whatever case. Not possible are names that say where a request begins, ends or goes (`host`, `connection`, `content-*`, `cookie` …), the names of our own headers (`webhook-*`, `x-hub-signature*`), and those that the metadata services of clouds ask for.',
    }),
    value: t.string({
      description:
        'Printable ASCII, without spaces at its ends. Required for a new header; without it, an update keeps the value that is stored under this name.',
    }),
  }),
});

type InputFieldBuilder = PothosSchemaTypes.InputFieldBuilder<Types, 'InputObject'>;
type InputFields<Shape> = InputFieldsFromShape<Types, Shape, 'InputObject'>;

/** A field for each setting. */
function inputFields<Shape>(t: InputFieldBuilder, operation: 'create' | 'update'): InputFields<Shape> {
  const fieldOf = (name: SettingName, { type, isRequired }: Setting) => {
    const description = describeInput(name, operation);
    const required = operation === 'create' && isRequired === true;
    switch (type) {
      case 'StringList':
        return t.stringList({ required, description });
      case 'HeaderList':
        return t.field({ type: [HeaderInput], required, description });
      case 'String':
      case 'Boolean':
      case 'Int':
      case 'JSON':
        return t.field({ type, required, description });
    }
  };
  // `as`: the settings' types derive from the same table.
  return Object.fromEntries(SETTING_ROWS.map(([name, row]) => [name, fieldOf(name, row)])) as InputFields<Shape>;
}

type CreateSettings = WebhookSubscriptionSettings & RequiredSettings;

const CreateInput = builder
  .inputRef<CreateSettings & { readonly tenant?: string | null }>('CreateWebhookSubscriptionInput')
  .implement({
    description: 'The settings of a new webhook subscription.',
    fields: (t) => ({
      tenant: t.string({
        description: 'The tenant. Required with the scope ADMIN; other credentials belong to a tenant.',
      }),
      ...inputFields<CreateSettings>(t, 'create'),
    }),
  });

const UpdateInput = builder.inputRef<WebhookSubscriptionSettings>('UpdateWebhookSubscriptionInput').implement({
  description:
    'The settings to change. An absent setting keeps its value, and so does one that is null, except for `filter` and `rateLimitPerSecond`.',
  fields: (t) => inputFields<WebhookSubscriptionSettings>(t, 'update'),
});

const CreatePayload = builder.objectRef<SubscriptionWithSecret>('CreateWebhookSubscriptionPayload').implement({
  description: 'The webhook subscription was created.',
  fields: (t) => ({
    subscription: t.field({ type: WebhookSubscriptionType, resolve: ({ subscription }) => subscription }),
    secret: t.exposeString('secret', { description: 'Signs the requests. Keep it: it is not shown again.' }),
  }),
});

const UpdatePayload = builder
  .objectRef<{ readonly subscription: WebhookSubscription }>('UpdateWebhookSubscriptionPayload')
  .implement({
    description: 'The webhook subscription was changed.',
    fields: (t) => ({
      subscription: t.field({ type: WebhookSubscriptionType, resolve: ({ subscription }) => subscription }),
    }),
  });

const DeletePayload = builder.objectRef<{ readonly id: string }>('DeleteWebhookSubscriptionPayload').implement({
  description: 'The webhook subscription was deleted.',
  fields: (t) => ({ id: t.exposeID('id') }),
});

const RotatePayload = builder
  .objectRef<SubscriptionWithSecret & { readonly previousSecretExpiresAt: Date }>('RotateWebhookSecretPayload')
  .implement({
    description: 'A new secret signs.',
    fields: (t) => ({
      subscription: t.field({ type: WebhookSubscriptionType, resolve: ({ subscription }) => subscription }),
      secret: t.exposeString('secret', { description: 'The new one. Keep it: it is not shown again.' }),
      previousSecretExpiresAt: t.expose('previousSecretExpiresAt', {
        type: 'DateTime',
        description: 'Until then the previous secret signs as well.',
      }),
    }),
  });

builder.mutationFields((t) => ({
  createWebhookSubscription: t.field({
    type: CreatePayload,
    description: 'The answer has its signing secret, which is shown once.',
    args: { input: t.arg({ type: CreateInput, required: true, description: 'Its settings.' }) },
    errors: { types: [InvalidInputError, TargetRejectedError, InvalidHeadersError, TooManySubscriptionsError] },
    resolve: (_root, { input }, { services, viewer }) =>
      createWebhookSubscription(services, { ...input, ...readTenant(viewer, input.tenant) }),
  }),
  updateWebhookSubscription: t.field({
    type: UpdatePayload,
    description: 'Counts for every event published after the answer.',
    args: {
      id: t.arg.id({ required: true, description: 'Of the webhook subscription.' }),
      input: t.arg({ type: UpdateInput, required: true, description: 'What to change.' }),
    },
    errors: { types: [NotFoundError, InvalidInputError, TargetRejectedError, InvalidHeadersError] },
    resolve: async (_root, { id, input }, { services, viewer }) => ({
      subscription: await updateWebhookSubscription(services, { id, tenant: tenantScope(viewer), settings: input }),
    }),
  }),
  deleteWebhookSubscription: t.field({
    type: DeletePayload,
    description: 'Its pending deliveries are cancelled; its delivery log stays.',
    args: { id: t.arg.id({ required: true, description: 'Of the webhook subscription.' }) },
    errors: { types: [NotFoundError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await deleteWebhookSubscription(services, { id, tenant: tenantScope(viewer) });
      return { id };
    },
  }),
  rotateWebhookSecret: t.field({
    type: RotatePayload,
    description: 'Makes a new signing secret; the old ones go on signing beside it for a while.',
    args: {
      id: t.arg.id({ required: true, description: 'Of the webhook subscription.' }),
      overlapSeconds: t.arg.int({ defaultValue: 86_400, description: 'From 0 to 604800.' }),
    },
    errors: { types: [NotFoundError, InvalidInputError, TooManySecretsError] },
    resolve: (_root, { id, overlapSeconds }, { services, viewer }) =>
      rotateWebhookSecret(services, { id, tenant: tenantScope(viewer), overlapSeconds: overlapSeconds ?? 86_400 }),
  }),
}));

const CircuitStateEnum = builder.enumType('CircuitState', {
  description: 'Whether deliveries are sent to an endpoint.',
  values: {
    CLOSED: { description: 'They are.' },
    OPEN: { description: 'The endpoint keeps failing: only probes are sent, until one succeeds.' },
  } as const,
});

const CircuitType = builder.prismaObject('SubscriptionState', {
  name: 'Circuit',
  description:
    'What keeps an endpoint that fails from being sent everything: it opens when 20 attempts in a row fail, or 70 % of at least 10 in five minutes.',
  fields: (t) => ({
    state: t.field({
      type: CircuitStateEnum,
      select: { openedAt: true },
      resolve: ({ openedAt }) => (openedAt === null ? 'CLOSED' : 'OPEN'),
    }),
    openedAt: t.expose('openedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Since when it has been open; null while it is closed.',
    }),
    nextProbeAt: t.expose('probeAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'When the next delivery is sent as a probe; if that is past, as soon as one is due. Null while it is closed.',
    }),
  }),
});
