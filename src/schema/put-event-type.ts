import { putEventType } from '../events/catalogue/put-event-type.ts';
import { InvalidInputError } from '../lib/webhook-subscription-errors.ts';
import type { EventType } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { CataloguedType } from './event-type.ts';

const Input = builder.inputType('PutEventTypeInput', {
  description:
    'An entry of the event catalogue. A field that is absent keeps its value, and so does one that is null, but for `schema`.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'The event type. An entry of this name is changed, or else created.',
    }),
    description: t.string({ description: 'For people; at most 1,000 characters.' }),
    schema: t.field({
      type: 'JSON',
      description:
        'JSON Schema, draft 2020-12, at most 64 KiB: what breaks it is rejected from now on. It may refer to nothing outside itself. `null` removes it.',
    }),
    isArchived: t.boolean({
      description: '`true`: no webhook subscription may newly ask for it. Its events go on as before.',
    }),
  }),
});

const Payload = builder.objectRef<{ readonly eventType: EventType }>('PutEventTypePayload').implement({
  description: 'The event catalogue has it now.',
  fields: (t) => ({ eventType: t.field({ type: CataloguedType, resolve: ({ eventType }) => eventType }) }),
});

builder.mutationField('putEventType', (t) =>
  t.field({
    type: Payload,
    authScopes: { admin: true },
    description:
      'Creates or changes an entry of the event catalogue; needs the scope ADMIN. Counts for every event published after the answer.',
    args: { input: t.arg({ type: Input, required: true, description: 'The entry, or what to change of it.' }) },
    errors: { types: [InvalidInputError] },
    resolve: async (_root, { input }, { services }) => ({ eventType: await putEventType(services, input) }),
  }),
);
