import type { Viewer } from '../auth/viewer.ts';
import { ApiKeyScopeEnum } from './api-key.ts';
import { builder } from './builder.ts';

const ViewerType = builder.objectRef<Viewer>('Viewer').implement({
  description: 'The credential of the operation.',
  fields: (t) => ({
    scope: t.expose('scope', { type: ApiKeyScopeEnum }),
    tenant: t.string({
      nullable: true,
      description: 'The tenant that the credential belongs to; null for a credential of every tenant.',
      resolve: ({ tenant }) => tenant,
    }),
    subject: t.exposeString('subject', {
      nullable: true,
      description:
        "The claim `sub` of a JWT, the name of an API key, or the subject of a session; null if there is none, and for the operator's key.",
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'The time at which the credential expires; null if it does not expire.',
      resolve: ({ expiresAt }) => expiresAt,
    }),
    subscriptionIds: t.idList({
      nullable: true,
      description: 'The only webhook subscriptions that a session sees; null if the credential sees all of its tenant.',
      resolve: ({ subscriptionIds }) => subscriptionIds && [...subscriptionIds],
    }),
    hidePayloads: t.boolean({
      description: 'Whether event data and the bodies of requests and responses are hidden.',
      resolve: ({ hidesPayloads }) => hidesPayloads ?? false,
    }),
    locale: t.exposeString('locale', { nullable: true, description: 'The language of a session, such as `de-AT`.' }),
  }),
});

builder.queryField('viewer', (t) =>
  t.field({
    type: ViewerType,
    description: 'The credential of this operation, and what it permits.',
    resolve: (_root, _args, { viewer }) => viewer,
  }),
);
