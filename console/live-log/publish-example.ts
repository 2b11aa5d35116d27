import { GRAPHQL_URL } from '../graphql/urls.ts';

/** The next command of an empty list, with this server's address. */
export const PUBLISH_EXAMPLE = `curl ${GRAPHQL_URL} -H 'content-type: application/json' \\
  -H "authorization: Bearer $(cat .data/admin-api-key)" -d '{ "query":
  "mutation { publishEvent(input: { tenant: \\"acme\\", type: \\"order.paid\\", data: { total: 42 } }) { __typename } }" }'`;
