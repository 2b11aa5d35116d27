import { type Api, connectApi, payloadOf } from './api.ts';
import type { Input } from './commands.ts';
import { usageError } from './failure.ts';
import { CREATE_KEY, KEYS, REVOKE_KEY } from './operations.ts';
import type { Row } from './output.ts';
import type { Run } from './run.ts';

const SCOPES = ['ADMIN', 'TENANT_WRITE', 'TENANT_READ', 'PUBLISH'] as const;
type Values = Input<'keys'>['values'];

export const manageKeys: Run<'keys'> = async ({ env, out }, { values, positionals }) => {
  const [action = 'list', subject] = positionals;
  const api = await connectApi(values, env);
  if (action === 'list') {
    for await (const page of listKeys(api, values)) out.rows(page);
    return 0;
  }
  if (subject === undefined) throw usageError('Usage: webhooks-engine keys list | create <name> | revoke <id>.');
  if (action === 'create') {
    const scope = parseScope(values.scope);
    const input = { name: subject, scope, tenant: values.tenant };
    const { key, apiKey } = payloadOf((await api.request(CREATE_KEY, { input })).createApiKey);
    out.rows([{ ...plain(apiKey), key }]);
    out.note('Store the key now: it cannot be read again.');
    return 0;
  }
  if (action !== 'revoke') throw usageError('Usage: webhooks-engine keys list | create <name> | revoke <id>.');
  const { apiKey } = payloadOf((await api.request(REVOKE_KEY, { id: subject })).revokeApiKey);
  out.rows([plain(apiKey)]);
  return 0;
};

/** Reads page by page, because there may be thousands of keys. */
async function* listKeys(api: Api, values: Values): AsyncGenerator<Row[]> {
  const filter = { tenant: values.tenant, includeRevoked: values.revoked === true };
  for (let after: string | null | undefined; after !== null; ) {
    const { apiKeys } = await api.request(KEYS, { filter, after });
    yield apiKeys.nodes.map(plain);
    after = apiKeys.pageInfo.hasNextPage ? (apiKeys.pageInfo.endCursor ?? null) : null;
  }
}

/** Removes `__typename`, which is queried only to distinguish a payload from an error. */
function plain(row: Row): Row {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== '__typename'));
}

function parseScope(text = 'TENANT_WRITE'): (typeof SCOPES)[number] {
  const scope = SCOPES.find((name) => name === text.toUpperCase());
  if (scope === undefined) throw usageError(`--scope must be one of ${SCOPES.join(', ')}.`);
  return scope;
}
