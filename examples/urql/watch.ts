// Prints the webhook subscriptions, then each new attempt. codegen.ts generates the types of the documents.
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient, type FormattedExecutionResult } from 'graphql-ws';
import { WebSocket } from 'ws';
import { LOG, START } from './operations.ts';

const url = `${process.env['URL'] ?? 'http://127.0.0.1:4000'}/graphql`;
const authorization = `Bearer ${process.env['KEY'] ?? readFileSync('.data/admin-api-key', 'utf8').trim()}`;

// Node 20 has no global WebSocket; browsers have one.
const socket = createClient({
  url: url.replace('http', 'ws'),
  webSocketImpl: WebSocket,
  connectionParams: { authorization },
  // Reconnect until the key is rejected (close code 4403). The default stops retrying when nothing listens on the port.
  retryAttempts: Number.POSITIVE_INFINITY,
  shouldRetry: (problem) => !(problem instanceof Object && 'code' in problem && problem.code === 4403),
  retryWait: () => delay(1_000),
});
const client = new Client({
  url,
  fetchOptions: { headers: { authorization } },
  exchanges: [
    cacheExchange,
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query = '', variables }) => ({
        subscribe: (sink) => {
          const next = ({ data: value = null, errors = [] }: FormattedExecutionResult) => {
            sink.next({ data: value, ...(errors.length > 0 && { errors: [...errors] }) });
          };
          return { unsubscribe: socket.subscribe({ query, variables }, { ...sink, next }) };
        },
      }),
    }),
  ],
});

const { data, error } = await client.query(START, {}).toPromise();
if (error !== undefined) throw error;
for (const { tenant, url: target, isActive } of data?.webhookSubscriptions.nodes ?? []) {
  console.log(`${tenant}: ${target}${isActive ? '' : ' (inactive)'}`);
}

// When graphql-ws reconnects, it sends this object again, with the cursor of the last attempt: no attempt is missed.
const position: { after?: string | null | undefined } = { after: data?.deliveryLog.pageInfo.endCursor };
client.subscription(LOG, position).subscribe((result) => {
  if (result.error !== undefined) console.error(result.error.message);
  if (result.data === undefined) return;
  const { cursor, eventType, number, status, statusCode, failureReason } = result.data.deliveryLog;
  position.after = cursor;
  console.log(`${eventType}, attempt ${number}: ${status} ${statusCode ?? failureReason ?? ''}`);
});
console.log('watching');
