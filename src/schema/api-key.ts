/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { ApiKeyScope } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import { checkFilter } from '../delivery-log/own-delivery-filter.ts';
import { PAGE, pageOf } from './page.ts';

export const ApiKeyScopeEnum = builder.enumType('ApiKeyScope', {
  description: 'What the holder of a credential may do.',
  values: {
    [ApiKeyScope.ADMIN]: { description: 'Everything, for every tenant; only an API key can have this scope, no JWT.' },
    [ApiKeyScope.TENANT_WRITE]: { description: 'Read, change and publish everything of one tenant, but no API keys.' },
    [ApiKeyScope.TENANT_READ]: { description: 'Read and watch everything of one tenant.' },
    [ApiKeyScope.PUBLISH]: { description: 'Publish events, for one tenant or for all of them, and nothing else.' },
  },
});

export const ApiKeyType = builder.prismaObject('ApiKey', {
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
