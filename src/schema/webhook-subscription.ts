import type { InputFieldsFromShape } from '@pothos/core';
import { readOneTenant, subscriptionScope, subscriptionsWhere } from '../auth/viewer.ts';
import { TargetRejectedError } from '../delivery/http/egress-policy.ts';
import { findDeliveries } from '../delivery-log/delivery-search.ts';
import { attemptWhere } from '../delivery-log/filter.ts';
import { checkFilterOfDeliveries, readFilterOfSubscription } from '../delivery-log/filter-input.ts';
import type { WebhookSubscription } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { NEWEST_FIRST, pageOf } from '../postgres/keyset.ts';
import { problemsOfSubscriptionFilter, subscriptionWhere } from '../subscriptions/filter.ts';
import { InvalidHeadersError } from '../subscriptions/headers.ts';
import {
  createWebhookSubscription,
  deleteWebhookSubscription,
  rotateWebhookSecret,
  SubscriptionChangedError,
  SubscriptionsTooLargeError,
  type SubscriptionWithSecret,
  TooManySecretsError,
  TooManySubscriptionsError,
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
import { CircuitType } from './circuit.ts';
import { DeliveryConnection, DeliveryType } from './delivery.ts';
import {
  DeactivationReasonEnum,
  DeliveryFilterInput,
  REQUIRED_TENANT,
  WebhookSubscriptionFilterInput,
} from './filters.ts';
import { LOG_PAGE, PAGE } from './page.ts';

type Types = typeof builder.$inferSchemaTypes;

export const SigningSecretType = builder.prismaObject('SigningSecret', {
  description: 'A secret that signs requests. It is shown only by the mutation that creates it.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'The id, which is not secret. Attempts have it in `signingSecretIds`.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    expiresAt: t.expose('expiresAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The end of its validity; null for the current secret.',
    }),
  }),
});

export const WebhookSubscriptionType = builder.prismaObject('WebhookSubscription', {
  description: 'An endpoint of a tenant, with the event types that are sent to it.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    deactivationReason: t.expose('deactivationReason', {
      type: DeactivationReasonEnum,
      nullable: true,
      description:
        'The reason of a deactivation by the engine; null if the webhook subscription is active or a user deactivated it.',
    }),
    failingSince: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'The first failure since the last success; null if there is none. After five days the webhook subscription is deactivated if its circuit is open, at the earliest twelve hours after the last notice.',
      select: { state: { select: { failingSince: true } } },
      resolve: ({ state }) => state?.failingSince ?? null,
    }),
    pausedUntil: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'The end of its pause; null if it is not paused.',
      select: { state: { select: { pausedUntil: true } } },
      resolve: ({ state }, _args, { services }) => {
        const { pausedUntil = null } = state ?? {};
        return pausedUntil !== null && pausedUntil.getTime() > services.database.clock.now() ? pausedUntil : null;
      },
    }),
    circuit: t.relation('state', {
      type: CircuitType,
      nullable: false,
      onNull: 'error',
      description: 'The circuit of the endpoint.',
    }),
    headerNames: t.exposeStringList('headerNames', {
      description: 'The names of the custom headers. Their values are never shown.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
    secrets: t.relation('secrets', {
      description: 'The valid signing secrets, newest first.',
      query: (_args, { services }) => ({
        where: { OR: [{ expiresAt: null }, { expiresAt: { gt: new Date(services.database.clock.now()) } }] },
        orderBy: NEWEST_FIRST,
      }),
    }),
    deliveries: t.prismaConnection(
      {
        type: DeliveryType,
        ...PAGE,
        description: 'The deliveries, newest first.',
        args: { filter: t.arg({ type: DeliveryFilterInput, description: 'The deliveries to return. Default: all.' }) },
        resolve: async (query, { id, tenant }, { filter }, context) => {
          const { prisma } = context.services.database;
          return findDeliveries(prisma, {
            filter: await readFilterOfSubscription(context, filter, { id, tenant, use: 'deliveries' }),
            query,
            signal: context.signal,
            find: (where, take) => prisma.delivery.findMany(pageOf({ ...query, take }, where)),
          });
        },
      },
      DeliveryConnection,
    ),
    deliveryLog: t.prismaConnection(
      {
        type: AttemptType,
        ...LOG_PAGE,
        description: 'The attempts, newest first.',
        args: { filter: t.arg({ type: DeliveryFilterInput, description: 'The attempts to return. Default: all.' }) },
        resolve: async (query, { id, tenant }, args, context) => {
          const filter = await readFilterOfSubscription(context, args.filter, { id, tenant, use: 'attempts' });
          return context.services.database.prisma.attempt.findMany(pageOf(query, attemptWhere(filter)));
        },
      },
      AttemptConnection,
    ),
  }),
});

// A field for each setting except the headers, whose values are never shown.
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

const Edge = builder.edgeObject({ name: 'WebhookSubscriptionEdge', type: WebhookSubscriptionType });
const Connection = builder.connectionObject(
  { name: 'WebhookSubscriptionConnection', type: WebhookSubscriptionType },
  Edge,
);

builder.queryFields((t) => ({
  webhookSubscription: t.prismaField({
    type: WebhookSubscriptionType,
    nullable: true,
    description:
      'The webhook subscription with this id; null if it does not exist, was deleted, or belongs to another tenant.',
    args: { id: t.arg.id({ required: true, description: 'The id of the webhook subscription.' }) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.webhookSubscription.findFirst({
            ...query,
            where: { id, deletedAt: null, ...subscriptionsWhere(viewer) },
          })
        : null,
  }),
  webhookSubscriptions: t.prismaConnection(
    {
      type: WebhookSubscriptionType,
      ...PAGE,
      description: 'The webhook subscriptions, newest first, without deleted ones.',
      args: {
        filter: t.arg({
          type: WebhookSubscriptionFilterInput,
          description: 'The webhook subscriptions to return. Default: all.',
        }),
      },
      resolve: (query, _root, { filter }, { services, viewer }) => {
        const given = filter ?? {};
        const now = new Date(services.database.clock.now());
        const tenant = checkFilterOfDeliveries(viewer, filter, { problems: problemsOfSubscriptionFilter(given) });
        const { AND } = subscriptionsWhere(viewer);
        return services.database.prisma.webhookSubscription.findMany(
          pageOf(query, { AND: [{ deletedAt: null, ...tenant, ...subscriptionWhere(given, now) }, ...AND] }),
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
        "The name, at most 128 characters, unique without regard to case. Forbidden are names that frame or route a request (`host`, `connection`, `content-*`, `cookie` …), the names of the engine's own headers (`webhook-*`, `x-hub-signature*`), and those of cloud metadata services.",
    }),
    value: t.string({
      description:
        'The value: printable ASCII, without spaces at its ends. Required for a new header; without it, an update keeps the stored value of this name.',
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
      tenant: t.string(REQUIRED_TENANT),
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
    secret: t.exposeString('secret', { description: 'The signing secret. It is not shown again.' }),
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
    description: 'The webhook subscription has a new signing secret.',
    fields: (t) => ({
      subscription: t.field({ type: WebhookSubscriptionType, resolve: ({ subscription }) => subscription }),
      secret: t.exposeString('secret', { description: 'The new signing secret. It is not shown again.' }),
      previousSecretExpiresAt: t.expose('previousSecretExpiresAt', {
        type: 'DateTime',
        description: 'The time until which the previous secret also signs.',
      }),
    }),
  });

builder.mutationFields((t) => ({
  createWebhookSubscription: t.field({
    audit: 'WebhookSubscription',
    type: CreatePayload,
    description: 'Creates a webhook subscription. The answer has its signing secret, which is not shown again.',
    args: { input: t.arg({ type: CreateInput, required: true, description: 'The settings.' }) },
    errors: {
      types: [
        InvalidInputError,
        TargetRejectedError,
        InvalidHeadersError,
        TooManySubscriptionsError,
        SubscriptionsTooLargeError,
      ],
    },
    resolve: (_root, { input }, { services, viewer, work: { spend } }) =>
      createWebhookSubscription({ ...services, spend }, { ...input, ...readOneTenant(viewer, input.tenant) }),
  }),
  updateWebhookSubscription: t.field({
    audit: 'WebhookSubscription',
    type: UpdatePayload,
    description: 'Changes settings of a webhook subscription, effective for every event published after the answer.',
    args: {
      id: t.arg.id({ required: true, description: 'The id of the webhook subscription.' }),
      input: t.arg({ type: UpdateInput, required: true, description: 'The settings to change.' }),
      ifUnchangedSince: t.arg({
        type: 'DateTime',
        description:
          'The `updatedAt` that the client has read. If the webhook subscription was changed later, nothing is changed.',
      }),
    },
    errors: {
      types: [
        NotFoundError,
        InvalidInputError,
        TargetRejectedError,
        InvalidHeadersError,
        SubscriptionChangedError,
        SubscriptionsTooLargeError,
      ],
    },
    resolve: async (_root, { id, input, ifUnchangedSince }, { services, viewer, work: { spend } }) => ({
      subscription: await updateWebhookSubscription(
        { ...services, spend },
        {
          id,
          tenant: subscriptionScope(viewer, id),
          settings: input,
          ifUnchangedSince: ifUnchangedSince ?? undefined,
        },
      ),
    }),
  }),
  deleteWebhookSubscription: t.field({
    audit: 'WebhookSubscription',
    type: DeletePayload,
    description: 'Deletes a webhook subscription. Its pending deliveries are cancelled, and its delivery log is kept.',
    args: { id: t.arg.id({ required: true, description: 'The id of the webhook subscription.' }) },
    errors: { types: [NotFoundError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await deleteWebhookSubscription(services, { id, tenant: subscriptionScope(viewer, id) });
      return { id };
    },
  }),
  rotateWebhookSecret: t.field({
    audit: 'WebhookSubscription',
    type: RotatePayload,
    description:
      'Creates a new signing secret. The old ones also sign for `overlapSeconds`, or until their own earlier expiry.',
    args: {
      id: t.arg.id({ required: true, description: 'The id of the webhook subscription.' }),
      overlapSeconds: t.arg.int({
        defaultValue: 86_400,
        description: 'The time in seconds for which old secrets stay valid, from 0 to 604800.',
      }),
    },
    errors: { types: [NotFoundError, InvalidInputError, TooManySecretsError] },
    resolve: (_root, { id, overlapSeconds }, { services, viewer }) =>
      rotateWebhookSecret(services, {
        id,
        tenant: subscriptionScope(viewer, id),
        overlapSeconds: overlapSeconds ?? 86_400,
      }),
  }),
}));
