import { setTimeout as delay } from 'node:timers/promises';
import { type ApiServer, startApiServer } from './api-server.ts';
import { ADMIN_KEY, type Api } from './graphql-api.ts';
import { createSocketClient } from './graphql-client.ts';
import { startNatsParts } from './nats-parts.ts';
import { waitFor } from './wait-for.ts';

/** Starts the parts of a process with the role `api`, with their own NATS connection. */
export async function startApiProcess(api: Api, port = 0): Promise<ApiServer> {
  const { natsClient, deliveries, feed } = startNatsParts({ servers: [api.nats.url], log: api.log });
  await waitFor(() => natsClient.connected, { what: 'NATS' });
  const server = await startApiServer({ ...api, natsClient, deliveries, feed }, { port });
  return {
    url: server.url,
    stop: async () => {
      await server.stop();
      await natsClient.stop();
    },
  };
}

export type Following = {
  /** The ids of the attempts, in the order in which they arrived. */
  readonly ids: readonly string[];
  readonly errors: readonly unknown[];
  /** The cursor of the last received attempt, or the start cursor. */
  readonly cursor: () => string | undefined;
  /** Resolves when nothing more can arrive. */
  stop(): Promise<void>;
};

type FollowOptions = {
  readonly url: string;
  readonly subscriptionId: string;
  readonly after?: string | undefined;
  /** Maximum number of automatic reconnections of the graphql-ws client. */
  readonly retryAttempts?: number;
};

const FOLLOW =
  'subscription ($filter: DeliveryFilter, $after: String) { deliveryLog(filter: $filter, after: $after) { id cursor } }';

/** Follows the live log of a subscription like a front end: after a reconnection, it continues from the last cursor. */
export function follow({ url, subscriptionId, after, retryAttempts = 0 }: FollowOptions): Following {
  const ids: string[] = [];
  const errors: unknown[] = [];
  const variables: { filter: unknown; after?: string | undefined } = {
    filter: { subscriptionIds: [subscriptionId] },
    after,
  };
  const client = createSocketClient(url, ADMIN_KEY, {
    retryAttempts,
    retryWait: () => delay(20),
    shouldRetry: () => true,
  });
  client.subscribe<{ deliveryLog: { id: string; cursor: string } }>(
    { query: FOLLOW, variables },
    {
      next: ({ data, errors: problems }) => {
        if (problems !== undefined) errors.push(...problems);
        if (data == null) return;
        ids.push(data.deliveryLog.id);
        // The client sends these variables again after a reconnection.
        variables.after = data.deliveryLog.cursor;
      },
      error: (error) => errors.push(error),
      complete: () => undefined,
    },
  );
  return {
    ids,
    errors,
    cursor: () => variables.after,
    stop: async () => {
      await client.dispose();
    },
  };
}
