import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { print } from 'graphql';
import { type Logger, pino } from 'pino';
import { Registry } from 'prom-client';
import { Credentials } from '../../src/auth/credentials.ts';
import { createCpuShares, createRateLimit } from '../../src/auth/quota.ts';
import { NO_TRACE } from '../../src/delivery/http/request.ts';
import type { DeliveryStream } from '../../src/delivery/queue/stream.ts';
import type { AttemptFeed } from '../../src/delivery-log/attempt-feed.ts';
import { ChangeFeeds } from '../../src/delivery-log/changes/change-feeds.ts';
import { FairReads } from '../../src/delivery-log/fair-reads.ts';
import { LiveLog } from '../../src/delivery-log/live-log.ts';
import { SchemaThread } from '../../src/events/catalogue/schema-thread.ts';
import { createPublishEvents } from '../../src/events/publish.ts';
import type { Attempt, Delivery } from '../../src/generated/prisma/client.ts';
import { InFlight } from '../../src/lib/in-flight.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import type { NatsClient } from '../../src/nats/connection.ts';
import type { Database } from '../../src/postgres/client.ts';
import { NotificationListener } from '../../src/postgres/listener.ts';
import { ReplayFeed } from '../../src/replays/progress.ts';
import type { SchemaServices } from '../../src/schema/context.ts';
import { createGraphql, type Graphql } from '../../src/server/graphql.ts';
import { HealthFeed } from '../../src/server/health-feed.ts';
import { createOperationMetrics } from '../../src/server/plugins/metrics.ts';
import { createSecretBox, type SecretBox } from '../../src/subscriptions/secrets.ts';
import { openTestDatabase } from './database.ts';
import { CREATE } from './graphql-operations.graphql.ts';
import { startTestNats, type TestNats } from './nats.ts';
import { startNatsParts } from './nats-parts.ts';
import { waitFor } from './wait-for.ts';

export const ADMIN_KEY = 'test-admin-key-0123456789-0123456789';

/** The default settings. */
export const SETTINGS = { corsOrigins: [], introspection: true, rateLimit: 100 };

export type GraphqlResponse<Data> = {
  readonly status: number;
  readonly data: Data | null | undefined;
  readonly errors: readonly { readonly message: string; readonly extensions?: Record<string, unknown> }[] | undefined;
};

/** The real services behind GraphQL, without a socket. */
export type Api = {
  readonly databaseUrl: string;
  readonly nats: TestNats;
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly natsClient: NatsClient;
  readonly deliveries: DeliveryStream;
  readonly feed: AttemptFeed;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  /** Returns the log as text. */
  readonly logged: () => string;
  readonly graphql: Graphql;
  readonly services: SchemaServices;
  readonly credentials: Credentials;
  run<Data, Variables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<GraphqlResponse<Data>>;
  stop(): Promise<void>;
};

/** `databaseUrl` is that of an existing database; by default, a new one is created. */
export async function startApi(databaseUrl?: string): Promise<Api> {
  const { url, database, close } = await openTestDatabase({ url: databaseUrl });
  const nats = await startTestNats();
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  const secretBox = createSecretBox(Buffer.alloc(32, 7).toString('base64'));
  const { natsClient, deliveries, feed } = startNatsParts({ servers: [nats.url], log });
  await waitFor(() => natsClient.connected, { what: 'NATS' });
  const notifications = new NotificationListener({ url, log });
  const credentials = new Credentials({ adminApiKeys: [ADMIN_KEY], jwt: undefined, database, notifications, log });
  const schemaThread = new SchemaThread({ log, metrics: new Registry() });
  const reads = new FairReads();
  const checkHealth = () => Promise.resolve({ isReady: true, parts: [] });
  const services = {
    database,
    secretBox,
    deliveries,
    schemaThread,
    log,
    apiKeyRevoked: credentials.revoked,
    liveLog: new LiveLog({ feed, database, reads, log }),
    changes: new ChangeFeeds({ database, reads, log }),
    publishEvents: createPublishEvents({ database, deliveries, schemaThread, log, metrics: new Registry() }),
    replayFeed: new ReplayFeed(database, log),
    egressPolicy: { allowCidrs: ['127.0.0.0/8'], allowHttp: 'loopback' as const, denyPorts: new Set<number>() },
    maxSubscriptionsPerTenant: 1_000,
    server: {
      version: '0.0.0',
      retentionDays: 30,
      retryScheduleMs: [5_000],
      operationsPerSecond: SETTINGS.rateLimit,
      checkHealth,
      watchHealth: (stopping: AbortSignal) => new HealthFeed(checkHealth).watch(stopping),
      findProcesses: () => Promise.resolve({ nodes: [] }),
    },
  };
  const stopping = new AbortController();
  const graphql = createGraphql({
    services,
    credentials,
    log,
    settings: SETTINGS,
    stopping: stopping.signal,
    takeOperation: createRateLimit(SETTINGS.rateLimit),
    cpuShares: createCpuShares(),
    operations: new InFlight(),
    operationMetrics: createOperationMetrics(new Registry()),
  });
  return {
    databaseUrl: url,
    nats,
    database,
    secretBox,
    natsClient,
    deliveries,
    feed,
    schemaThread,
    log,
    graphql,
    services,
    credentials,
    logged: () => lines.join(''),
    run: (document, variables) => post(graphql, JSON.stringify({ query: print(document), variables })),
    stop: async () => {
      stopping.abort();
      await schemaThread.stop();
      await natsClient.stop();
      await nats.stop();
      await close();
    },
  };
}

export async function post<Data>(
  graphql: Graphql,
  body: string,
  headers: Record<string, string> = { authorization: `Bearer ${ADMIN_KEY}` },
): Promise<GraphqlResponse<Data>> {
  const response = await graphql.fetch('http://test/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  // `as`: the tests check the content of the answer.
  const result = (await response.json()) as Omit<GraphqlResponse<Data>, 'status'>;
  return { status: response.status, data: result.data, errors: result.errors };
}

/** Returns the expected member of a result union. Fails with the actual result otherwise. */
export function expectType<
  Union extends { readonly __typename?: string },
  Name extends NonNullable<Union['__typename']>,
>(result: Union | null | undefined, name: Name): Extract<Union, { readonly __typename?: Name }> {
  if (result?.__typename !== name) throw new Error(`expected ${name}, got ${JSON.stringify(result)}`);
  // `as`: TypeScript does not narrow a generic union by a generic name.
  return result as Extract<Union, { readonly __typename?: Name }>;
}

export type Seed = { readonly subscriptionId: string; readonly tenant: string; readonly timeMs?: number };

/** Inserts an event and its pending delivery, like the dispatcher. */
export async function seedDelivery({ prisma }: Database, { subscriptionId, tenant, timeMs = Date.now() }: Seed) {
  const event = await prisma.event.create({
    data: {
      id: uuid7(timeMs),
      tenant,
      eventId: uuid7(timeMs),
      type: 'conversation.created',
      occurredAt: new Date(timeMs),
      data: Buffer.from('{"n":1}'),
    },
  });
  return prisma.delivery.create({
    data: {
      id: uuid7(timeMs),
      tenant,
      subscriptionId,
      eventId: event.id,
      eventType: event.type,
      nextAttemptAt: new Date(timeMs),
      enqueuedAt: new Date(timeMs),
    },
  });
}

/** Inserts a pending delivery of a new webhook subscription of the tenant. */
export async function deliveryOf(api: Pick<Api, 'run' | 'database'>, tenant: string): Promise<Delivery> {
  const input = { tenant, url: 'https://example.com', eventTypes: ['*'] };
  const { data } = await api.run(CREATE, { input });
  const { subscription } = expectType(data?.createWebhookSubscription, 'CreateWebhookSubscriptionPayload');
  return seedDelivery(api.database, { subscriptionId: subscription.id, tenant });
}

/** Returns an attempt of a delivery that is neither stored nor announced. */
export function attemptOf(
  delivery: Pick<Delivery, 'id' | 'subscriptionId' | 'tenant' | 'eventType'>,
  values: Partial<Attempt> = {},
): Attempt {
  const startedAt = values.startedAt ?? new Date();
  return {
    id: uuid7(startedAt.getTime()),
    deliveryId: delivery.id,
    subscriptionId: delivery.subscriptionId,
    tenant: delivery.tenant,
    eventType: delivery.eventType,
    number: 1,
    status: 'SUCCESS',
    failureReason: values.status === 'FAILURE' ? ('HTTP_STATUS' as const) : null,
    statusCode: 200,
    responseTimeMs: 12,
    startedAt,
    requestHeaders: {},
    responseHeaders: {},
    responseBody: 'ok',
    url: 'https://example.com/',
    ...NO_TRACE,
    responseBodyTruncated: false,
    errorMessage: null,
    payloadSizeBytes: 10,
    signingSecretIds: [],
    isTest: false,
    ...values,
  };
}

export async function storeAttempt(database: Database, attempt: Attempt): Promise<Attempt> {
  await storeAttempts(database, [attempt]);
  return attempt;
}

export async function storeAttempts({ prisma }: Database, attempts: readonly Attempt[]): Promise<void> {
  // Prisma has a special value for JSON null; the tests only use objects here.
  await prisma.attempt.createMany({
    data: attempts.map(({ requestHeaders, responseHeaders, ...rest }) => ({
      ...rest,
      requestHeaders: requestHeaders ?? {},
      responseHeaders: responseHeaders ?? {},
    })),
  });
}
