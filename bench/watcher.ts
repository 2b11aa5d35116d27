import process from 'node:process';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { clockMs } from './clock.ts';

/** The first and only message to a watcher. */
export type WatchOrder = {
  readonly url: string;
  readonly adminApiKey: string;
  readonly tenant: string;
  readonly sockets: number;
};
/** A watcher's messages: first that all sockets are connected, then the times at which they got each attempt. */
export type WatcherMessage = { readonly watching: number } | { readonly webhookId: string; readonly seenAt: number[] };

const WATCH = 'subscription ($filter: DeliveryFilter) { deliveryLog(filter: $filter) { id status requestHeaders } }';
/** Interval of reports to the parent, in milliseconds. A report for each message would cost more than the messages. */
const REPORT_MS = 100;

const seen = new Map<string, number[]>();

/** Opens all sockets and subscribes each to the tenant's live log. */
async function watch({ url, adminApiKey, tenant, sockets }: WatchOrder): Promise<void> {
  const connected = Array.from({ length: sockets }, () => {
    return new Promise<void>((resolve, reject) => {
      const client = createClient({
        url: `${url.replace('http', 'ws')}/graphql`,
        webSocketImpl: WebSocket,
        connectionParams: { authorization: `Bearer ${adminApiKey}` },
        lazy: false,
        onNonLazyError: reject,
        on: {
          connected: () => {
            resolve();
          },
        },
      });
      client.subscribe<{ deliveryLog: { requestHeaders: Record<string, string> } }>(
        { query: WATCH, variables: { filter: { tenant } } },
        {
          next: ({ data }) => {
            const webhookId = data?.deliveryLog.requestHeaders['webhook-id'];
            if (webhookId !== undefined) note(webhookId);
          },
          error: reject,
          complete: () => undefined,
        },
      );
    });
  });
  await Promise.all(connected);
}

function note(webhookId: string): void {
  const times = seen.get(webhookId) ?? [];
  times.push(clockMs());
  seen.set(webhookId, times);
}

process.on('disconnect', () => process.exit(0));
process.on('message', (order: WatchOrder) => {
  void watch(order).then(() => {
    process.send?.({ watching: order.sockets } satisfies WatcherMessage);
    setInterval(() => {
      for (const [webhookId, seenAt] of seen) process.send?.({ webhookId, seenAt } satisfies WatcherMessage);
      seen.clear();
    }, REPORT_MS);
  });
});
