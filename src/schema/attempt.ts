import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { AttemptStatus } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { FailureReasonEnum } from './delivery.ts';

const AttemptStatusEnum = builder.enumType('AttemptStatus', {
  description: 'The result of one HTTP request.',
  values: {
    [AttemptStatus.SUCCESS]: { description: 'The endpoint answered with a status from 200 to 299.' },
    [AttemptStatus.FAILURE]: { description: 'The attempt failed; `failureReason` has the reason.' },
  },
});

export const AttemptType = builder.prismaObject('Attempt', {
  description: 'One HTTP request of a delivery: an entry of the delivery log.',
  fields: (t) => ({
    id: t.exposeID('id'),
    cursor: t.string({
      description:
        'A cursor for `after` that continues behind this attempt. In a page it is the cursor of the edge; in the live log it also records which attempts logged at the same time have been received.',
      // A live attempt has its own cursor.
      resolve: (attempt: { readonly id: string; readonly cursor?: string }) =>
        attempt.cursor ?? formatPrismaCursor({ id: attempt.id }, 'id'),
    }),
    delivery: t.relation('delivery', {
      nullable: true,
      description: 'The delivery; null if it is no longer kept.',
    }),
    subscription: t.relation('subscription', { description: 'The webhook subscription, even if it has been deleted.' }),
    tenant: t.exposeString('tenant'),
    eventType: t.exposeString('eventType'),
    number: t.exposeInt('number', { description: 'The number of the attempt within its delivery, from 1.' }),
    isTest: t.exposeBoolean('isTest', { description: 'Whether the attempt belongs to a test event.' }),
    status: t.expose('status', { type: AttemptStatusEnum }),
    failureReason: t.expose('failureReason', {
      type: FailureReasonEnum,
      nullable: true,
      description: 'The reason of a failure; null if the attempt succeeded.',
    }),
    statusCode: t.exposeInt('statusCode', {
      nullable: true,
      description: 'The HTTP status code; null without a response.',
    }),
    responseTimeMs: t.exposeInt('responseTimeMs', {
      description: 'The time from the start of the attempt to its result, in milliseconds.',
    }),
    startedAt: t.expose('startedAt', { type: 'DateTime' }),
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
      description: 'At most the first 20,000 bytes of the response body, read as UTF-8.',
      complexity: 5,
    }),
    responseBodyTruncated: t.exposeBoolean('responseBodyTruncated', {
      description: 'Whether the response body was longer than `responseBody`.',
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

const AttemptEdge = builder.edgeObject({ name: 'AttemptEdge', type: AttemptType });
export const AttemptConnection = builder.connectionObject(
  { name: 'AttemptConnection', type: AttemptType },
  AttemptEdge,
);
