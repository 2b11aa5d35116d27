import { connectApi, pagesOf, payloadOf } from './api.ts';
import { usageError } from './failure.ts';
import { CREATE_KEY, KEYS, REVOKE_KEY } from './operations.ts';
import { readOneOf } from './options.ts';
import type { Row } from './output.ts';
import type { Run } from './run.ts';

const SCOPES = ['ADMIN', 'TENANT_WRITE', 'TENANT_READ', 'PUBLISH'] as const;

export const manageKeys: Run<'keys'> = async ({ env, out }, { values, positionals }) => {
  const [action = 'list', subject] = positionals;
  const api = await connectApi(values, env);
  if (action === 'list') {
    const filter = { tenant: values.tenant, includeRevoked: values.revoked === true };
    // Each page is printed as it is read, because there may be thousands of keys.
    const pages = pagesOf(async (after) => (await api.request(KEYS, { filter, after })).apiKeys);
    for await (const page of pages) out.rows(page.map(plain));
    return 0;
  }
  if (subject === undefined || (action !== 'create' && action !== 'revoke')) {
    throw usageError('Usage: webhooks-engine keys list | create <name> | revoke <id>.');
  }
  if (action === 'create') {
    const scope = readOneOf('--scope', SCOPES, values.scope ?? 'TENANT_WRITE');
    const input = { name: subject, scope, tenant: values.tenant };
    const { key, apiKey } = payloadOf((await api.request(CREATE_KEY, { input })).createApiKey);
    out.rows([{ ...plain(apiKey), key }]);
    out.note('Store the key now: it cannot be read again.');
    return 0;
  }
  const { apiKey } = payloadOf((await api.request(REVOKE_KEY, { id: subject })).revokeApiKey);
  out.rows([plain(apiKey)]);
  return 0;
};

/** Removes `__typename`, which is queried only to distinguish a payload from an error. */
function plain(row: Row): Row {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== '__typename'));
}
