import { type IssuedApiKey, issueApiKey, revokeApiKey } from '../auth/api-keys.ts';
import { checkFilter } from '../delivery-log/filter-input.ts';
import { type ApiKey, ApiKeyScope } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { pageOf } from '../postgres/keyset.ts';
import { builder } from './builder.ts';
import { PAGE } from './page.ts';

export const ApiKeyScopeEnum = builder.enumType('ApiKeyScope', {
  description: 'The operations that a credential permits.',
  values: {
    [ApiKeyScope.ADMIN]: {
      description:
        "Every operation, for every tenant. API keys, the operator's key and sessions of the console can have this scope; JWTs and sessions of the portal cannot.",
    },
    [ApiKeyScope.TENANT_WRITE]: {
      description: 'Reading, changing and publishing everything of one tenant, except API keys.',
    },
    [ApiKeyScope.TENANT_READ]: { description: 'Reading and watching everything of one tenant.' },
    [ApiKeyScope.PUBLISH]: { description: 'Publishing events, for one tenant or for every tenant.' },
  },
});

export const ApiKeyType = builder.prismaObject('ApiKey', {
  description: 'A credential. The key itself is shown only by the mutation that creates it.',
  authScopes: { admin: true },
  select: { id: true },
  fields: (t) => ({
    id: t.id({ resolve: ({ id }) => id }),
    name: t.exposeString('name', { description: 'A name for people.' }),
    scope: t.expose('scope', { type: ApiKeyScopeEnum }),
    tenant: t.exposeString('tenant', {
      nullable: true,
      description: 'The tenant that the key belongs to; null with ADMIN, and with PUBLISH for every tenant.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    lastUsedAt: t.expose('lastUsedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The last use, exact to about a minute; null if the key has never been used.',
    }),
    revokedAt: t.expose('revokedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The time of its revocation; null while the key is valid.',
    }),
  }),
});

const FilterInput = builder.inputType('ApiKeyFilter', {
  description: 'A filter for API keys.',
  fields: (t) => ({
    tenant: t.string({ description: 'Only the keys of this tenant.' }),
    includeRevoked: t.boolean({ description: 'Whether revoked keys are included. Default: false.' }),
  }),
});

const Edge = builder.edgeObject({ name: 'ApiKeyEdge', type: ApiKeyType });
const Connection = builder.connectionObject({ name: 'ApiKeyConnection', type: ApiKeyType }, Edge);

builder.queryField('apiKeys', (t) =>
  t.prismaConnection(
    {
      type: ApiKeyType,
      ...PAGE,
      description: 'The API keys, newest first. Requires the scope ADMIN.',
      authScopes: { admin: true },
      args: { filter: t.arg({ type: FilterInput, description: 'The keys to return. Default: all valid keys.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) =>
        services.database.prisma.apiKey.findMany(
          pageOf(query, {
            ...checkFilter(viewer, { tenant: filter?.tenant }),
            kind: 'KEY',
            ...(filter?.includeRevoked !== true && { revokedAt: null }),
          }),
        ),
    },
    Connection,
  ),
);

const CreateInput = builder.inputType('CreateApiKeyInput', {
  description: 'A new API key.',
  fields: (t) => ({
    tenant: t.string({
      description:
        'The tenant of the key. Required with TENANT_WRITE and TENANT_READ; without it, PUBLISH is for every tenant.',
    }),
    name: t.string({ required: true, description: 'A name for people, from 1 to 200 characters.' }),
    scope: t.field({ type: ApiKeyScopeEnum, required: true, description: 'The operations that the key permits.' }),
  }),
});

const CreatePayload = builder.objectRef<IssuedApiKey>('CreateApiKeyPayload').implement({
  description: 'The API key was created.',
  fields: (t) => ({
    apiKey: t.field({ type: ApiKeyType, resolve: ({ apiKey }) => apiKey }),
    key: t.exposeString('key', { description: 'The key. It is not shown again.' }),
  }),
});

const RevokePayload = builder.objectRef<{ readonly apiKey: ApiKey }>('RevokeApiKeyPayload').implement({
  description: 'The API key was revoked.',
  fields: (t) => ({ apiKey: t.field({ type: ApiKeyType, resolve: ({ apiKey }) => apiKey }) }),
});

/** An ADMIN key would stay valid after the session has ended. */
const ADMIN_IN_SESSION = {
  path: 'scope',
  message: 'must not be ADMIN in a session of the console: use the API with the key',
};

// Only an administrator creates keys: keys created by a tenant's key would outlive its revocation.
builder.mutationFields((t) => ({
  createApiKey: t.field({
    audit: 'ApiKey',
    type: CreatePayload,
    description: 'Creates an API key. Requires the scope ADMIN.',
    authScopes: { admin: true },
    args: {
      input: t.arg({
        type: CreateInput,
        required: true,
        description: 'The name, the scope and the tenant of the key.',
      }),
    },
    errors: { types: [InvalidInputError] },
    resolve: (_root, { input }, { services, viewer }) => {
      if (viewer.session !== undefined && input.scope === 'ADMIN') throw new InvalidInputError([ADMIN_IN_SESSION]);
      return issueApiKey(services.database, input);
    },
  }),
  revokeApiKey: t.field({
    audit: 'ApiKey',
    type: RevokePayload,
    description:
      'Revokes an API key. Within five seconds every process refuses it and closes its streams and sockets. Requires the scope ADMIN.',
    authScopes: { admin: true },
    args: { id: t.arg.id({ required: true, description: 'The id of the API key.' }) },
    errors: { types: [NotFoundError] },
    resolve: async (_root, { id }, { services }) => {
      const apiKey = await revokeApiKey(services.database, id);
      services.apiKeyRevoked(apiKey.id);
      return { apiKey };
    },
  }),
}));
