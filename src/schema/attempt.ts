import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { deliveriesWhere } from '../auth/viewer.ts';
import { webhookBody } from '../delivery/sending/attempt.ts';
import { type Attempt, AttemptStatus } from '../generated/prisma/client.ts';
import { isUuid, uuid7Time } from '../lib/uuid7.ts';
import { knownFailureReason } from '../postgres/new-values.ts';
import { builder } from './builder.ts';
import { PAYLOAD } from './event.ts';
import { FailureReasonEnum } from './filters.ts';

const AttemptStatusEnum = builder.enumType('AttemptStatus', {
  description: 'The result of one HTTP request.',
  values: {
    [AttemptStatus.SUCCESS]: { description: 'The endpoint answered with a status from 200 to 299.' },
    [AttemptStatus.FAILURE]: { description: 'The attempt failed; `failureReason` has the reason.' },
  },
});

/** The columns of an event that its webhook's body depends on. */
const EVENT_COLUMNS = { id: true, eventId: true, type: true, occurredAt: true, redactedAt: true } as const;

const TimingType = builder
  .objectRef<Pick<Attempt, 'dnsMs' | 'connectMs' | 'tlsMs' | 'firstByteMs' | 'bodyMs'>>('AttemptTiming')
  .implement({
    description:
      'The phases of a request in milliseconds. A phase that did not take place or did not end is null; so are the first three on a connection of an earlier request.',
    fields: (t) => ({
      dnsMs: t.exposeInt('dnsMs', { nullable: true, description: 'The lookup of the host name.' }),
      connectMs: t.exposeInt('connectMs', { nullable: true, description: 'The TCP handshake.' }),
      tlsMs: t.exposeInt('tlsMs', { nullable: true, description: 'The TLS handshake.' }),
      firstByteMs: t.exposeInt('firstByteMs', {
        nullable: true,
        description: 'From the established connection to the response headers.',
      }),
      bodyMs: t.exposeInt('bodyMs', {
        nullable: true,
        description: 'From the response headers to the end of the response body, or of its recorded part.',
      }),
    }),
  });

export const AttemptType = builder.prismaObject('Attempt', {
  description: 'One HTTP request of a delivery: an entry of the delivery log.',
  fields: (t) => ({
    id: t.exposeID('id'),
    cursor: t.string({
      description:
        'A cursor for `after` that continues behind this attempt. In a page it is the cursor of the edge; in the live log it also records which attempts logged at the same time have been received.',
      // Only an attempt of the live log has a position.
      resolve: ({ id, position = id }: { readonly id: string; readonly position?: string }) =>
        formatPrismaCursor({ id: position }, 'id'),
    }),
    delivery: t.relation('delivery', {
      nullable: true,
      description: 'The delivery; null if it is no longer kept.',
    }),
    deliveryId: t.exposeID('deliveryId', {
      description: 'The id of the delivery, without a read of the delivery.',
    }),
    subscriptionId: t.exposeID('subscriptionId', {
      description: 'The id of the webhook subscription, without a read of it.',
    }),
    subscription: t.relation('subscription', { description: 'The webhook subscription, even if it has been deleted.' }),
    tenant: t.exposeString('tenant'),
    eventType: t.exposeString('eventType'),
    number: t.exposeInt('number', { description: 'The number of the attempt within its delivery, from 1.' }),
    isTest: t.exposeBoolean('isTest', { description: 'Whether the attempt belongs to a test event.' }),
    status: t.expose('status', { type: AttemptStatusEnum }),
    failureReason: t.field({
      type: FailureReasonEnum,
      nullable: true,
      select: { failureReason: true },
      description: 'The reason of a failure; null if the attempt succeeded.',
      // A process with a newer version may have announced a reason that this version does not know.
      resolve: ({ failureReason }) => knownFailureReason(failureReason),
    }),
    statusCode: t.exposeInt('statusCode', {
      nullable: true,
      description: 'The HTTP status code; null without a response.',
    }),
    responseTimeMs: t.exposeInt('responseTimeMs', {
      description: 'The time from the start of the attempt to its result, in milliseconds.',
    }),
    startedAt: t.expose('startedAt', { type: 'DateTime' }),
    loggedAt: t.field({
      type: 'DateTime',
      description: 'The time at which the attempt was recorded in the delivery log.',
      resolve: ({ id }) => new Date(uuid7Time(id)),
    }),
    url: t.exposeString('url', {
      description: 'The URL that the request was sent to. The webhook subscription may have another URL now.',
    }),
    remoteAddress: t.exposeString('remoteAddress', {
      nullable: true,
      description: 'The IP address that the request was sent to; null without a connection.',
    }),
    timing: t.field({
      type: TimingType,
      description: 'The time that each phase of the request took.',
      resolve: (attempt) => attempt,
    }),
    requestBody: t.string({
      nullable: true,
      ...PAYLOAD,
      description:
        'The request body, byte for byte as it was sent; null if the event is no longer kept or was redacted, or the session hides payloads. An operation reads at most 16 MiB of data.',
      complexity: 100,
      select: { delivery: { select: { event: { select: EVENT_COLUMNS } } } },
      resolve: async ({ delivery }, _args, { eventData, work }) => {
        const event = delivery?.event ?? undefined;
        if (event === undefined || event.redactedAt !== null) return null;
        const data = await eventData.text(event.id);
        // Several attempts can have the same event, which is read once.
        work.takeBytes(data.length);
        const { eventId, type: eventType, occurredAt } = event;
        const body = { eventId, eventType, occurredAt: occurredAt.toISOString(), data: Buffer.from(data) };
        return webhookBody(body).toString('utf8');
      },
    }),
    requestHeaders: t.expose('requestHeaders', {
      type: 'JSON',
      description: 'The request headers as an object of at most 64; secret values are redacted.',
    }),
    responseHeaders: t.expose('responseHeaders', {
      type: 'JSON',
      nullable: true,
      description: 'The response headers as an object of at most 64; secret values are redacted.',
    }),
    responseBody: t.exposeString('responseBody', {
      nullable: true,
      ...PAYLOAD,
      description:
        'At most the first 20,000 bytes of the response body, read as UTF-8; null without a response, or if the session hides payloads.',
      complexity: 5,
    }),
    responseBodyTruncated: t.exposeBoolean('responseBodyTruncated', {
      description: 'Whether `responseBody` is incomplete: the body was longer, took longer than 3 s, or broke off.',
    }),
    errorMessage: t.exposeString('errorMessage', {
      nullable: true,
      description: 'A description of the failure for people.',
    }),
    payloadSizeBytes: t.exposeInt('payloadSizeBytes', { description: 'The size of the request body.' }),
    signingSecretIds: t.exposeIDList('signingSecretIds', {
      description:
        "The ids of the secrets that signed the request, the current one first. The subscription's `secrets` has those that are still valid.",
    }),
  }),
});

builder.queryField('attempt', (t) =>
  t.prismaField({
    type: AttemptType,
    nullable: true,
    description: 'The attempt with this id; null if it does not exist or belongs to another tenant.',
    args: { id: t.arg.id({ required: true, description: 'The id of the attempt.' }) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.attempt.findFirst({ ...query, where: { id, ...deliveriesWhere(viewer) } })
        : null,
  }),
);

const AttemptEdge = builder.edgeObject({ name: 'AttemptEdge', type: AttemptType });
export const AttemptConnection = builder.connectionObject(
  { name: 'AttemptConnection', type: AttemptType },
  AttemptEdge,
);
