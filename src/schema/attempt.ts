import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { AttemptStatus } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { FailureReasonEnum } from './delivery.ts';

const AttemptStatusEnum = builder.enumType('AttemptStatus', {
  description: 'What became of one HTTP request.',
  values: {
    [AttemptStatus.SUCCESS]: { description: 'The endpoint answered with a 2xx.' },
    [AttemptStatus.FAILURE]: { description: 'Anything else; `failureReason` says what.' },
  },
});

export const AttemptType = builder.prismaObject('Attempt', {
  description: 'One HTTP request of a delivery, as the delivery log shows it.',
  fields: (t) => ({
    id: t.exposeID('id'),
    cursor: t.string({
      description:
        'Hand it as `after` to go on from here. In a page the same as the cursor of its edge; in the live log it also says what has been seen of attempts logged at the same time.',
      // A live attempt brings its own.
      resolve: (attempt: { readonly id: string; readonly cursor?: string }) =>
        attempt.cursor ?? formatPrismaCursor({ id: attempt.id }, 'id'),
    }),
    delivery: t.relation('delivery', {
      nullable: true,
      description: 'Null if the attempt is kept for longer than its delivery was.',
    }),
    subscription: t.relation('subscription', { description: 'Also if it has been deleted since.' }),
    tenant: t.exposeString('tenant'),
    eventType: t.exposeString('eventType'),
    number: t.exposeInt('number', { description: 'Counts the attempts of the delivery from 1.' }),
    isTest: t.exposeBoolean('isTest', { description: 'Whether it is of a test event.' }),
    status: t.expose('status', { type: AttemptStatusEnum }),
    failureReason: t.expose('failureReason', {
      type: FailureReasonEnum,
      nullable: true,
      description: 'Null if it succeeded.',
    }),
    statusCode: t.exposeInt('statusCode', { nullable: true, description: 'Null if no response came.' }),
    responseTimeMs: t.exposeInt('responseTimeMs', { description: 'From the start of the attempt to its outcome.' }),
    startedAt: t.expose('startedAt', { type: 'DateTime' }),
    requestHeaders: t.expose('requestHeaders', {
      type: 'JSON',
      description: 'An object of at most 64 headers; secret values are redacted.',
    }),
    responseHeaders: t.expose('responseHeaders', {
      type: 'JSON',
      nullable: true,
      description: 'An object of at most 64 headers; secret values are redacted.',
    }),
    responseBody: t.exposeString('responseBody', {
      nullable: true,
      description: 'Its first 20,000 bytes at most, read as UTF-8.',
      complexity: 5,
    }),
    responseBodyTruncated: t.exposeBoolean('responseBodyTruncated', { description: 'Whether there was more of it.' }),
    errorMessage: t.exposeString('errorMessage', { nullable: true, description: 'What went wrong, for people.' }),
    payloadSizeBytes: t.exposeInt('payloadSizeBytes', { description: 'Size of the request body.' }),
    signingSecretIds: t.exposeIDList('signingSecretIds', {
      description:
        "The ids of the signing secrets it was signed with, the current one first. Of those, the subscription's `secrets` has the ones that are still valid.",
    }),
  }),
});

const AttemptEdge = builder.edgeObject({ name: 'AttemptEdge', type: AttemptType });
export const AttemptConnection = builder.connectionObject(
  { name: 'AttemptConnection', type: AttemptType },
  AttemptEdge,
);
