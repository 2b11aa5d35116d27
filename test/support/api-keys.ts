import type { TestApp } from './test-app.ts';

const CREATE = `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) {
  ... on CreateApiKeyPayload { key apiKey { id } }
  ... on Error { code message }
} }`;

type Input = { readonly scope: string; readonly tenant?: string; readonly name?: string };

/** Creates an API key as the admin. */
export async function createApiKey(
  { graphql }: Pick<TestApp, 'graphql'>,
  input: Input,
): Promise<{ readonly id: string; readonly key: string }> {
  const { createApiKey: result } = await graphql<{
    createApiKey: { key?: string; apiKey?: { id: string }; message?: string };
  }>(CREATE, { input: { name: 'test', ...input } });
  if (result.key === undefined || result.apiKey === undefined) throw new Error(result.message);
  return { id: result.apiKey.id, key: result.key };
}

/** Revokes an API key as the admin. */
export async function revokeApiKey({ graphql }: Pick<TestApp, 'graphql'>, id: string): Promise<void> {
  await graphql(
    'mutation ($id: ID!) { revokeApiKey(id: $id) { __typename ... on RevokeApiKeyPayload { apiKey { id } } } }',
    { id },
  );
}
