import { InvalidHeadersError } from '../subscriptions/headers.ts';
import { TargetRejectedError } from '../delivery/http/target-url.ts';
import {
  InvalidInputError,
  NotFoundError,
  TooManySecretsError,
  TooManySubscriptionsError,
} from '../lib/webhook-subscription-errors.ts';
import {
  createWebhookSubscription,
  deleteWebhookSubscription,
  rotateWebhookSecret,
  type SubscriptionWithSecret,
  updateWebhookSubscription,
} from '../subscriptions/service.ts';
import type { WebhookSubscription } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { readTenant, tenantScope } from '../auth/viewer.ts';
import { WebhookSubscriptionType } from './webhook-subscription.ts';

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

const DESCRIPTIONS = {
  url: 'Where the requests go.',
  eventTypes: '1 to 100 event types, prefixes such as `conversation.*`, or `*` for all but `webhook_subscription.*`.',
  description: 'For people; at most 1,000 characters.',
  headers: 'Custom headers, sent with every request; at most 20, and 4 KiB of names and values together.',
  filter:
    'What an event\'s data has to fulfil, as docs/payload-filters.md says: `{status: "paid", total: {$gt: 100}}`. At most 100 conditions, 10 levels and 16 KiB of JSON.',
  timeoutMs: 'How long one attempt may take, from 1000 to 30000.',
  maxInFlight: 'How many attempts each sender process may be making at a time, from 1 to 100.',
  rateLimitPerSecond: 'How many attempts may be begun per second, from 1 to 1000.',
} as const;

const CreateInput = builder.inputType('CreateWebhookSubscriptionInput', {
  description: 'A new webhook subscription.',
  fields: (t) => ({
    tenant: t.string({ description: 'Required with the admin key; other credentials know theirs.' }),
    url: t.string({ required: true, description: DESCRIPTIONS.url }),
    eventTypes: t.stringList({ required: true, description: DESCRIPTIONS.eventTypes }),
    description: t.string({ description: DESCRIPTIONS.description }),
    headers: t.field({ type: [HeaderInput], description: `${DESCRIPTIONS.headers} Default: none.` }),
    filter: t.field({ type: 'JSON', description: `${DESCRIPTIONS.filter} Default: every event of its types.` }),
    isActive: t.boolean({ description: 'Default: true.' }),
    timeoutMs: t.int({ description: `${DESCRIPTIONS.timeoutMs} Default: 5000.` }),
    maxInFlight: t.int({ description: `${DESCRIPTIONS.maxInFlight} Default: 10.` }),
    rateLimitPerSecond: t.int({ description: `${DESCRIPTIONS.rateLimitPerSecond} Default: no limit.` }),
  }),
});

const UpdateInput = builder.inputType('UpdateWebhookSubscriptionInput', {
  description:
    'A field that is absent keeps its value, and so does one that is null, but for `filter` and `rateLimitPerSecond`.',
  fields: (t) => ({
    url: t.string({ description: DESCRIPTIONS.url }),
    eventTypes: t.stringList({ description: DESCRIPTIONS.eventTypes }),
    description: t.string({ description: DESCRIPTIONS.description }),
    headers: t.field({
      type: [HeaderInput],
      description: `${DESCRIPTIONS.headers} Replaces all of them, and an empty list removes them; one without a value keeps its value.`,
    }),
    filter: t.field({ type: 'JSON', description: `${DESCRIPTIONS.filter} \`null\` takes it away.` }),
    isActive: t.boolean({ description: '`false` also cancels the pending deliveries.' }),
    timeoutMs: t.int({ description: DESCRIPTIONS.timeoutMs }),
    maxInFlight: t.int({ description: DESCRIPTIONS.maxInFlight }),
    rateLimitPerSecond: t.int({ description: `${DESCRIPTIONS.rateLimitPerSecond} \`null\` takes the limit away.` }),
  }),
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
