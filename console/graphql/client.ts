import { cacheExchange } from '@urql/exchange-graphcache';
import type { Client as LiveClient } from 'graphql-ws';
import { type Client, createClient, fetchExchange, mapExchange, subscriptionExchange } from 'urql';
import { endSession } from '../session/session.ts';
import { createLiveClient } from './connection.ts';
import { POSSIBLE_TYPES } from './possible-types.ts';
import { subscribeAgain } from './restart.ts';
import { retryQueries, statusOf } from './retry.ts';
import { withoutLarge } from './uncached.ts';
import { GRAPHQL_URL } from './urls.ts';

export type Clients = {
  readonly urql: Client;
  /** For streams that bypass the normalised cache. */
  readonly live: LiveClient;
};

/** Types without an id. The cache keeps them as a part of their parent object, like the types of pages. */
const EMBEDDED = [
  'AttemptTiming',
  'AuditActor',
  'Circuit',
  'ConsideredSubscription',
  'DeliverEventsPayload',
  'DeliveryCounts',
  'DeliveryStats',
  'DeliveryStatsBucket',
  'DeliveryStatsGroup',
  'EventTypeTrial',
  'InputProblem',
  'RejectedSample',
  'ReplaySkips',
  'ResponseTimes',
  'SearchResult',
  'Server',
  'ServerHealth',
  'ServerHealthPart',
  'SignatureFailure',
  'SigningSecretUsage',
  'SubscriptionHealth',
  'TenantFigures',
  'TestFilterEventResult',
  'TestFilterResult',
  'VerifySignatureResult',
];
/** Types whose rows are read in pages. */
const PAGED = [
  'ApiKey',
  'Attempt',
  'AuditEntry',
  'ConsideredSubscription',
  'Delivery',
  'DeliveryJob',
  'Erasure',
  'Event',
  'EventType',
  'RejectedEvent',
  'Replay',
  'WebhookSubscription',
];

/** The clients of one person, with the current token. Another person gets new clients, so no cached answer is shared. */
export function createClients(getKey: () => string): Clients {
  const live = createLiveClient(getKey);
  const retry = retryQueries((operation) => urql.reexecuteOperation(operation));
  const urql = createClient({
    url: GRAPHQL_URL,
    fetchOptions: () => ({
      headers: { authorization: `Bearer ${getKey()}` },
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
    }),
    preferGetMethod: false,
    requestPolicy: 'cache-and-network',
    exchanges: [
      mapExchange({
        onError: (error) => {
          const isRefused = error.graphQLErrors.some(({ extensions }) => extensions.code === 'UNAUTHENTICATED');
          if (isRefused || statusOf(error) === 401) endSession();
        },
        onResult: (result) => {
          retry(result);
          // GraphQL has null if no part of a query could be answered; pages know undefined only.
          return result.data === null ? { ...result, data: undefined } : result;
        },
      }),
      withoutLarge(
        cacheExchange({
          possibleTypes: POSSIBLE_TYPES,
          keys: {
            // Publishers' ids are unique within a tenant only.
            Event: ({ tenant, id }) =>
              typeof tenant === 'string' && typeof id === 'string' ? `${tenant}\n${id}` : null,
            EventType: ({ name }) => (typeof name === 'string' ? name : null),
            ...keysOfEmbedded(),
            Tenant: ({ name }) => (typeof name === 'string' ? name : null),
          },
        }),
      ),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: (sink) => ({
            // `as`: both libraries describe the same JSON.
            unsubscribe: subscribeAgain(
              live,
              { query, variables: variables as Record<string, unknown> },
              sink as never,
            ),
          }),
        }),
      }),
    ],
  });
  return { urql, live };
}

function keysOfEmbedded() {
  const ofPages = PAGED.flatMap((name) => [`${name}Connection`, `${name}Edge`]);
  return Object.fromEntries([...EMBEDDED, ...ofPages, 'PageInfo'].map((name) => [name, () => null]));
}
