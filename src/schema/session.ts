import {
  createConsoleSession,
  createPortalSession,
  exchangeCode,
  type IssuedSession,
  MAX_SESSIONS,
  MAX_SUBSCRIPTION_IDS,
  MAX_TTL_SECONDS,
  MIN_TTL_SECONDS,
  revokeSession,
  TooManySessionsError,
} from '../auth/sessions.ts';
import { readOneTenant } from '../auth/viewer.ts';
import type { ApiKey } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { ApiKeyScopeEnum } from './api-key.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { REQUIRED_TENANT } from './filters.ts';

const DEFAULT_TTL_SECONDS = 900;

const KindEnum = builder.enumType('SessionKind', {
  description: 'The front end that a session is for.',
  values: {
    CONSOLE: { description: 'The console, in place of the key that was used to sign in.' },
    PORTAL: { description: 'The portal, for the users of one tenant.' },
  },
});

export const SessionType = builder.objectRef<ApiKey>('Session').implement({
  description:
    'A credential that a key has created for a browser. It ends when it expires or is revoked, or when its key is revoked, and is then deleted.',
  fields: (t) => ({
    id: t.exposeID('id'),
    kind: t.field({ type: KindEnum, resolve: ({ kind }) => (kind === 'PORTAL' ? kind : 'CONSOLE') }),
    scope: t.expose('scope', { type: ApiKeyScopeEnum }),
    tenant: t.exposeString('tenant', { nullable: true, description: 'The tenant; null for every tenant.' }),
    subject: t.string({
      nullable: true,
      description: 'The user of the session, for people; null if none was given.',
      resolve: ({ name }) => (name === '' ? null : name),
    }),
    subscriptionIds: t.idList({
      nullable: true,
      description: 'The only webhook subscriptions that the session sees; null if it sees all of its tenant.',
      resolve: ({ subscriptionIds }) => (subscriptionIds.length === 0 ? null : subscriptionIds),
    }),
    hidePayloads: t.boolean({
      description: 'Whether event data and the bodies of requests and responses are hidden.',
      resolve: ({ hidesPayloads }) => hidesPayloads,
    }),
    locale: t.exposeString('locale', {
      nullable: true,
      description: 'The language of numbers and times in the portal.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    expiresAt: t.field({ type: 'DateTime', resolve: ({ expiresAt }) => expiresAt ?? new Date(0) }),
    revokedAt: t.expose('revokedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The time of its revocation; null if it was not revoked.',
    }),
  }),
});

const CreateInput = builder.inputType('CreatePortalSessionInput', {
  description: 'A new session for the portal.',
  fields: (t) => ({
    tenant: t.string(REQUIRED_TENANT),
    scope: t.field({
      type: ApiKeyScopeEnum,
      defaultValue: 'TENANT_READ',
      description: 'TENANT_READ or TENANT_WRITE. A session of the portal never publishes, and creates no credentials.',
    }),
    ttlSeconds: t.int({
      defaultValue: DEFAULT_TTL_SECONDS,
      description: `The time until the session expires, from ${MIN_TTL_SECONDS} to ${MAX_TTL_SECONDS} seconds.`,
    }),
    subject: t.string({ description: 'The user of the session, for people, at most 200 characters.' }),
    subscriptionIds: t.idList({
      description: `The only webhook subscriptions that the session sees and changes, at most ${MAX_SUBSCRIPTION_IDS}, with their deliveries, attempts and statistics. It then sees no events, replays and rejected events of the tenant, and creates no webhook subscriptions. With TENANT_WRITE it can change their event types and filters, and so receive every later event. Default: all of the tenant.`,
    }),
    hidePayloads: t.boolean({
      defaultValue: false,
      description:
        'Whether event data and the bodies of requests and responses are hidden. With TENANT_WRITE, a session can still send its events to an endpoint of its choice.',
    }),
    locale: t.string({
      description: 'The language of numbers and times in the portal, such as `de-AT`. Default: that of the browser.',
    }),
  }),
});

const CODE =
  'A one-time code. `exchangePortalCode` returns a token for it once, within 60 s. The present token is refused from then on.';

const CreatePortalPayload = issuedPayload('CreatePortalSessionPayload', 'portal');
const CreateConsolePayload = issuedPayload('CreateConsoleSessionPayload', 'console');

function issuedPayload(name: string, page: 'portal' | 'console') {
  return builder.objectRef<IssuedSession>(name).implement({
    description: 'The session was created.',
    fields: (t) => ({
      session: t.field({ type: SessionType, resolve: ({ session }) => session }),
      token: t.exposeString('token', { description: 'The credential of the session. It is not shown again.' }),
      code: t.exposeString('code', { description: CODE }),
      url: t.string({
        nullable: true,
        description: `A one-time link to the ${page} with the code behind \`#\`, which browsers do not send; null without \`PUBLIC_URL\`.`,
        resolve: ({ code }, _args, { services: { server } }) =>
          server.publicUrl === undefined ? null : `${server.publicUrl}/${page}/#code=${code}`,
      }),
    }),
  });
}

const ExchangePayload = builder
  .objectRef<Pick<IssuedSession, 'session' | 'token'>>('ExchangePortalCodePayload')
  .implement({
    description: 'The code was exchanged.',
    fields: (t) => ({
      session: t.field({ type: SessionType, resolve: ({ session }) => session }),
      token: t.exposeString('token', { description: 'The credential of the session. It is not shown again.' }),
    }),
  });

const RevokePayload = endedPayload('RevokePortalSessionPayload');
const EndPayload = endedPayload('EndSessionPayload');

function endedPayload(name: string) {
  return builder.objectRef<{ readonly session: ApiKey }>(name).implement({
    description: 'The session was revoked.',
    fields: (t) => ({ session: t.field({ type: SessionType, resolve: ({ session }) => session }) }),
  });
}

builder.mutationFields((t) => ({
  createPortalSession: t.field({
    audit: 'Session',
    type: CreatePortalPayload,
    description: `Creates a session for the portal, which a back end hands to a user's browser. Requires the operator's key, or an API key or a session of the console with the scope TENANT_WRITE or ADMIN; a JWT or a session of the portal creates none. A tenant can have ${MAX_SESSIONS} valid sessions.`,
    authScopes: { issueSessions: true },
    args: { input: t.arg({ type: CreateInput, required: true, description: 'The rights of the session.' }) },
    errors: { types: [InvalidInputError, TooManySessionsError] },
    resolve: (_root, { input }, { services, viewer }) =>
      createPortalSession(services.database, viewer, {
        ...input,
        ...readOneTenant(viewer, input.tenant),
        scope: input.scope ?? 'TENANT_READ',
        ttlSeconds: input.ttlSeconds ?? DEFAULT_TTL_SECONDS,
      }),
  }),
  createConsoleSession: t.field({
    audit: 'Session',
    type: CreateConsolePayload,
    description:
      "Creates a session with the rights of this key for 12 hours, which a browser keeps in place of the key. It creates no API key with the scope ADMIN, and no session of the console. Requires an API key that may read, or the operator's key.",
    skipTypeScopes: true,
    authScopes: { signIn: true },
    errors: { types: [TooManySessionsError] },
    resolve: (_root, _args, { services, viewer }) => createConsoleSession(services.database, viewer),
  }),
  exchangePortalCode: t.field({
    audit: false,
    type: ExchangePayload,
    description:
      'Exchanges the one-time code of a session for its token. The code is also the credential of this operation, if the request has no other one and at most 2 KiB.',
    skipTypeScopes: true,
    authScopes: { exchangeCode: true },
    args: { code: t.arg.string({ required: true, description: 'The code from the link.' }) },
    errors: { types: [NotFoundError] },
    resolve: async (_root, { code }, { services }) => {
      const exchanged = await exchangeCode(services.database, code);
      services.apiKeyRevoked(exchanged.session.id);
      return exchanged;
    },
  }),
  revokePortalSession: t.field({
    audit: 'Session',
    type: RevokePayload,
    description:
      'Revokes a session of the portal. Within five seconds every process refuses it and closes its streams and sockets. Requires what `createPortalSession` requires.',
    authScopes: { issueSessions: true },
    args: { id: t.arg.id({ required: true, description: 'The id of the session.' }) },
    errors: { types: [NotFoundError] },
    resolve: (_root, { id }, context) => revoke(context, { id, kind: 'PORTAL', tenant: context.viewer.tenant }),
  }),
  endSession: t.field({
    audit: false,
    type: EndPayload,
    description: 'Signs out: revokes the session that the operation is sent with.',
    skipTypeScopes: true,
    authScopes: { read: true },
    errors: { types: [NotFoundError] },
    resolve: (_root, _args, context) => {
      const { credentialId: id, tenant } = context.viewer;
      return revoke(context, { id, tenant });
    },
  }),
}));

async function revoke({ services }: Context, key: Parameters<typeof revokeSession>[1]) {
  const session = await revokeSession(services.database, key);
  services.apiKeyRevoked(session.id);
  return { session };
}
