import { InvalidInputError, NotFoundError } from '../lib/webhook-subscription-errors.ts';
import type { ApiKey } from '../generated/prisma/client.ts';
import { ApiKeyScopeEnum, ApiKeyType } from './api-key.ts';
import { builder } from './builder.ts';
import { type IssuedApiKey, issueApiKey, revokeApiKey } from '../auth/issue-api-key.ts';

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
