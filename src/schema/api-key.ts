import { type IssuedApiKey, issueApiKey, revokeApiKey } from '../auth/api-keys.ts';
import { checkFilter } from '../delivery-log/filter.ts';
import { type ApiKey, ApiKeyScope } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { pageOf } from '../postgres/keyset.ts';
import { builder } from './builder.ts';
import { PAGE } from './page.ts';

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

const ApiKeyScopeEnum = builder.enumType('ApiKeyScope', {
  description: 'What the holder of a credential may do.',
  values: {
    [ApiKeyScope.ADMIN]: { description: 'Everything, for every tenant; only an API key can have this scope, no JWT.' },
    [ApiKeyScope.TENANT_WRITE]: { description: 'Read, change and publish everything of one tenant, but no API keys.' },
    [ApiKeyScope.TENANT_READ]: { description: 'Read and watch everything of one tenant.' },
    [ApiKeyScope.PUBLISH]: { description: 'Publish events, for one tenant or for all of them, and nothing else.' },
  },
});

const ApiKeyType = builder.prismaObject('ApiKey', {
  description: 'A credential. The key itself is shown once, by the mutation that makes it, and never again.',
  authScopes: { admin: true },
  select: { id: true },
  fields: (t) => ({
    id: t.exposeID('id'),
    name: t.exposeString('name', { description: 'For people.' }),
    scope: t.expose('scope', { type: ApiKeyScopeEnum }),
    tenant: t.exposeString('tenant', {
      nullable: true,
      description: 'Whose it is; null with ADMIN, and with PUBLISH for every tenant.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    lastUsedAt: t.expose('lastUsedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'To about a minute; null if it never was.',
    }),
    revokedAt: t.expose('revokedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Since when it is refused; null while it is valid.',
    }),
  }),
});

const FilterInput = builder.inputType('ApiKeyFilter', {
  description: 'Which API keys are meant.',
  fields: (t) => ({
    tenant: t.string({ description: 'Only the keys of this tenant.' }),
    includeRevoked: t.boolean({ description: 'Also those that are revoked. Default: false.' }),
  }),
});

const Edge = builder.edgeObject({ name: 'ApiKeyEdge', type: ApiKeyType });
const Connection = builder.connectionObject({ name: 'ApiKeyConnection', type: ApiKeyType }, Edge);

builder.queryField('apiKeys', (t) =>
  t.prismaConnection(
    {
      type: ApiKeyType,
      ...PAGE,
      description: 'Newest first. Only with the scope ADMIN.',
      authScopes: { admin: true },
      args: { filter: t.arg({ type: FilterInput, description: 'Default: those that are valid.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) =>
        services.database.prisma.apiKey.findMany(
          pageOf(query, {
            ...checkFilter(viewer, { tenant: filter?.tenant }),
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
      description: 'Whose it is. Required with TENANT_WRITE and TENANT_READ; without it PUBLISH is for every tenant.',
    }),
    name: t.string({ required: true, description: 'For people; 1 to 200 characters.' }),
    scope: t.field({ type: ApiKeyScopeEnum, required: true, description: 'What its holder may do.' }),
  }),
});

const CreatePayload = builder.objectRef<IssuedApiKey>('CreateApiKeyPayload').implement({
  description: 'The API key was created.',
  fields: (t) => ({
    apiKey: t.field({ type: ApiKeyType, resolve: ({ apiKey }) => apiKey }),
    key: t.exposeString('key', { description: 'Keep it: it is not shown again.' }),
  }),
});

const RevokePayload = builder.objectRef<{ readonly apiKey: ApiKey }>('RevokeApiKeyPayload').implement({
  description: 'The API key is refused from now on.',
  fields: (t) => ({ apiKey: t.field({ type: ApiKeyType, resolve: ({ apiKey }) => apiKey }) }),
});

// Only an administrator makes keys: those that a tenant's key had made would outlive its revocation.
builder.mutationFields((t) => ({
  createApiKey: t.field({
    type: CreatePayload,
    description: 'Only with the scope ADMIN.',
    authScopes: { admin: true },
    args: { input: t.arg({ type: CreateInput, required: true, description: 'What it may do, and for whom.' }) },
    errors: { types: [InvalidInputError] },
    resolve: (_root, { input }, { services }) => issueApiKey(services.database, input),
  }),
  revokeApiKey: t.field({
    type: RevokePayload,
    description:
      'Within five seconds it is refused everywhere, and what is open with it is closed. Only with the scope ADMIN.',
    authScopes: { admin: true },
    args: { id: t.arg.id({ required: true, description: 'Of the API key.' }) },
    errors: { types: [NotFoundError] },
    resolve: async (_root, { id }, { services }) => {
      const apiKey = await revokeApiKey(services.database, id);
      services.apiKeyRevoked(apiKey.id);
      return { apiKey };
    },
  }),
}));
