import { subscriptionScope } from '../auth/viewer.ts';
import { CircuitClosedError, probeNow } from '../delivery/circuit/probe.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { MAX_PAUSE_DAYS, pauseWebhookSubscription, resumeWebhookSubscription } from '../subscriptions/pause.ts';
import { expireSigningSecret } from '../subscriptions/service.ts';
import { builder } from './builder.ts';
import { WebhookSubscriptionType } from './webhook-subscription.ts';

const ProbePayload = payload(
  'ProbeNowPayload',
  'The next due delivery is sent as a probe, usually within two seconds.',
);
const ExpirePayload = payload('ExpireSigningSecretPayload', 'The signing secret signs no further request.');

const PausePayload = payload('PauseWebhookSubscriptionPayload', 'The webhook subscription is paused.');
const ResumePayload = payload('ResumeWebhookSubscriptionPayload', 'The webhook subscription is not paused.');

const ID = { required: true, description: 'The id of the webhook subscription.' } as const;

builder.mutationFields((t) => ({
  probeNow: t.field({
    audit: 'WebhookSubscription',
    type: ProbePayload,
    description:
      'Probes an endpoint whose circuit is open now instead of at `nextProbeAt`: sends its next delivery, usually within two seconds after it is due. If the probe succeeds, the circuit closes.',
    args: { id: t.arg.id(ID) },
    errors: { types: [NotFoundError, CircuitClosedError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await probeNow(services.database, { id, tenant: subscriptionScope(viewer, id) });
      return { subscriptionId: id };
    },
  }),
  pauseWebhookSubscription: t.field({
    audit: 'WebhookSubscription',
    type: PausePayload,
    description:
      'Pauses a webhook subscription, or changes the end of its pause. Its deliveries are created and wait (`PAUSED`); only test events and deliveries that a user retries are sent.',
    args: {
      id: t.arg.id(ID),
      until: t.arg({
        type: 'DateTime',
        description: `The end of the pause, at most ${MAX_PAUSE_DAYS} days from now, which is the default.`,
      }),
    },
    errors: { types: [NotFoundError, InvalidInputError] },
    resolve: async (_root, { id, until }, { services, viewer }) => {
      await pauseWebhookSubscription(services.database, {
        id,
        tenant: subscriptionScope(viewer, id),
        until: until ?? undefined,
      });
      return { subscriptionId: id };
    },
  }),
  resumeWebhookSubscription: t.field({
    audit: 'WebhookSubscription',
    type: ResumePayload,
    description:
      'Ends the pause of a webhook subscription. Its waiting deliveries are sent within its limits, as after an outage.',
    args: { id: t.arg.id(ID) },
    errors: { types: [NotFoundError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await resumeWebhookSubscription(services.database, { id, tenant: subscriptionScope(viewer, id) });
      return { subscriptionId: id };
    },
  }),
  expireSigningSecret: t.field({
    audit: 'WebhookSubscription',
    type: ExpirePayload,
    description: 'Ends the overlap of an old signing secret now.',
    args: {
      id: t.arg.id(ID),
      secretId: t.arg.id({ required: true, description: 'The id of one of its old signing secrets.' }),
    },
    errors: { types: [NotFoundError, InvalidInputError] },
    resolve: async (_root, { id, secretId }, { services, viewer }) => {
      await expireSigningSecret(services, { id, secretId, tenant: subscriptionScope(viewer, id) });
      return { subscriptionId: id };
    },
  }),
}));

function payload(name: string, description: string) {
  return builder.objectRef<{ readonly subscriptionId: string }>(name).implement({
    description,
    fields: (t) => ({
      subscription: t.prismaField({
        type: WebhookSubscriptionType,
        resolve: (query, { subscriptionId }, _args, { services }) =>
          services.database.prisma.webhookSubscription.findUniqueOrThrow({ ...query, where: { id: subscriptionId } }),
      }),
    }),
  });
}
