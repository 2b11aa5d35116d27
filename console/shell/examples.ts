import { GRAPHQL_URL } from '../graphql/urls.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { useActingTenant } from './acting-tenant.ts';
import { IS_PORTAL } from './front-end.ts';

type Examples = { readonly publish: string; readonly subscribe: string };

/**
 * The next commands of empty lists, with this server's address; undefined for a viewer that may not run them. Users of the
 * portal have no API key.
 */
export function useExamples(): Examples | undefined {
  const { isAdmin, canWrite } = useViewer();
  const acting = useActingTenant();
  if (!canWrite || IS_PORTAL) return undefined;
  const tenant = isAdmin ? `tenant: \\"${acting ?? 'acme'}\\", ` : '';
  const key = isAdmin ? '$(cat .data/admin-api-key)' : '$API_KEY';
  const commandOf = (mutation: string) => `curl ${GRAPHQL_URL} -H 'content-type: application/json' \\
  -H "authorization: Bearer ${key}" -d '{ "query":
  "mutation { ${mutation} ... on Error { message } } }" }'`;
  return {
    publish: commandOf(`publishEvent(input: { ${tenant}type: \\"order.paid\\", data: { total: 42 } }) { __typename`),
    subscribe: commandOf(
      `createWebhookSubscription(input: { ${tenant}url: \\"https://example.com/webhooks\\", eventTypes: [\\"order.*\\"] }) { ... on CreateWebhookSubscriptionPayload { secret subscription { id } }`,
    ),
  };
}
