import { randomBytes } from 'node:crypto';
import { connect, type JetStreamManager, type NatsConnection, NatsError, nanos, headers as natsHeaders } from 'nats';
import pg from 'pg';
import { type Logger, pino } from 'pino';
import { type App, startApp } from '../../src/app.ts';
import { readConfig } from '../../src/config/config.ts';
import type { JobLimits } from '../../src/jobs.ts';
import { createMessageSeal } from '../../src/nats/names.ts';
import { createTestDatabase } from './database.ts';
import { startTestNats, type TestNats, type TestNatsOptions } from './nats.ts';
import { WAIT_TIMEOUT_MS } from './wait-for.ts';

export const ADMIN_API_KEY = 'test-admin-key-test-admin-key-test-admin-key';
export const SECRETS_KEY = randomBytes(32).toString('base64');
/** Seal of the programs that tests start. */
export const TEST_SEAL = createMessageSeal(SECRETS_KEY);

export type TestServices = {
  readonly databaseUrl: string;
  readonly nats: TestNats;
  /** Publishes like a service, and waits for JetStream's confirmation. */
  readonly publish: (
    subject: string,
    body: string | Buffer,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<void>;
  /** Number of messages ever stored in a stream. */
  readonly storedIn: (stream: string) => Promise<number>;
  /** Number of messages in a stream now. */
  readonly waitingIn: (stream: string) => Promise<number>;
  /** Number of messages delivered to a consumer and not yet acknowledged. */
  readonly unackedBy: (stream: string, consumer: string) => Promise<number>;
  /** Number of messages that a consumer has delivered, redeliveries included, according to nats-server. */
  readonly deliveredBy: (stream: string, consumer: string) => Promise<number>;
  /** Redelivers the messages of a killed program after `ms`, by default 2 s; the program itself sets a minute. */
  readonly shortenAckWait: (stream: string, consumer: string, ms?: number) => Promise<void>;
  /** Queries Postgres directly. */
  readonly query: <T extends pg.QueryResultRow>(sql: string, values?: unknown[]) => Promise<T[]>;
  stop(): Promise<void>;
};

/** Starts a database and a nats-server for one test file. */
export async function startTestServices(natsOptions: TestNatsOptions = {}): Promise<TestServices> {
  const [database, nats] = await Promise.all([createTestDatabase(), startTestNats(natsOptions)]);
  const pool = new pg.Pool({ connectionString: database.url, max: 4, options: '-c datestyle=ISO' });
  pool.on('error', () => undefined);
  let connected: Promise<NatsConnection> | undefined;
  const connection = () =>
    (connected ??= connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 100 }));
  const manage = async <T>(work: (manager: JetStreamManager) => Promise<T>) => {
    const manager = await (await connection()).jetstreamManager({ timeout: 1_000, checkAPI: false });
    return repeatIf(isLost, { times: 10, work: () => work(manager) });
  };
  const stateOf = async (stream: string) => (await manage((manager) => manager.streams.info(stream))).state;
  const consumerOf = (stream: string, name: string) => manage((manager) => manager.consumers.info(stream, name));
  return {
    databaseUrl: database.url,
    nats,
    publish: async (subject, body, headers = {}) => {
      const messageHeaders = natsHeaders();
      for (const [name, value] of Object.entries(headers)) messageHeaders.set(name, value);
      const isRepeatable = headers['Nats-Msg-Id'] !== undefined;
      const jetStream = (await connection()).jetstream({ timeout: isRepeatable ? 5_000 : WAIT_TIMEOUT_MS });
      await repeatIf(isLost, {
        times: isRepeatable ? 4 : 1,
        work: () => jetStream.publish(subject, Buffer.from(body), { headers: messageHeaders }),
      });
    },
    storedIn: async (stream) => (await stateOf(stream)).last_seq,
    unackedBy: async (stream, consumer) => (await consumerOf(stream, consumer)).num_ack_pending,
    deliveredBy: async (stream, consumer) => (await consumerOf(stream, consumer)).delivered.consumer_seq,
    shortenAckWait: async (stream, consumer, ms = 2_000) => {
      await manage((manager) => manager.consumers.update(stream, consumer, { ack_wait: nanos(ms) }));
    },
    waitingIn: async (stream) => (await stateOf(stream)).messages,
    query: async <T extends pg.QueryResultRow>(sql: string, values: unknown[] = []) =>
      (await pool.query<T>(sql, values)).rows,
    stop: async () => {
      await (await connected)?.close();
      await pool.end();
      await nats.stop();
      await database.drop();
    },
  };
}

/** Data sent while the connection is being re-established is dropped without an error. */
function isLost(error: unknown): boolean {
  return error instanceof NatsError && error.code === 'TIMEOUT';
}

type Repeated<T> = { readonly times: number; readonly work: () => Promise<T> };

async function repeatIf<T>(isTemporary: (error: unknown) => boolean, { times, work }: Repeated<T>): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isTemporary(error) || failures === times) throw error;
    }
  }
}

/** The environment of a program on these services that may send to loopback, with short waits before retries. */
export function testEnv(
  { databaseUrl, nats }: Pick<TestServices, 'databaseUrl'> & { readonly nats: Pick<TestNats, 'url'> },
  env: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return {
    PORT: '0',
    DATABASE_URL: databaseUrl,
    NATS_URL: nats.url,
    ADMIN_API_KEY,
    SECRETS_KEY,
    EGRESS_ALLOW_CIDRS: '127.0.0.0/8,::1/128',
    EGRESS_ALLOW_HTTP: 'true',
    RETRY_SCHEDULE: '200ms,300ms',
    LOG_LEVEL: 'silent',
    WORKERS: '0',
    // A program that starts uses all connections at once, and each takes some 20 ms of CPU time.
    DATABASE_POOL_SIZE: '4',
    ...env,
  };
}

export type TestApp = App & {
  /** The data of a query or mutation sent as the admin; throws on GraphQL errors. */
  readonly graphql: <T = Record<string, unknown>>(query: string, variables?: Record<string, unknown>) => Promise<T>;
  /** Creates a webhook subscription for tenant acme. */
  readonly subscribe: (input: SubscribeInput) => Promise<{ readonly id: string; readonly secret: string }>;
};

type SubscribeInput = { readonly url: string; readonly eventTypes?: readonly string[] } & Record<string, unknown>;

type TestAppOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly log?: Logger;
  readonly limits?: JobLimits;
};

/** Many tests insert rows with random ids, which retention regards as very old. */
const WITHOUT_RETENTION: JobLimits = { firstRetentionInMs: 3_600_000 };

/** Starts the whole program in this process and waits until it is ready. */
export async function startTestApp(
  services: Pick<TestServices, 'databaseUrl'> & { readonly nats: Pick<TestNats, 'url'> },
  { env = {}, log = pino({ level: 'silent' }), limits = {} }: TestAppOptions = {},
): Promise<TestApp> {
  const app = await startApp(readConfig(testEnv(services, env)), {
    log,
    limits: { ...WITHOUT_RETENTION, ...limits },
    report: () => undefined,
  });
  await app.ready;
  const graphql = <T>(query: string, variables: Record<string, unknown> = {}) =>
    postGraphql<T>(app.url, { query, variables });
  return { ...app, graphql, subscribe: (input) => subscribe(graphql, input) };
}

export async function postGraphql<T>(
  url: string,
  body: { query: string; variables: Record<string, unknown> },
): Promise<T> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_API_KEY}` },
    body: JSON.stringify(body),
  });
  // The caller declares the type of the fields it selects.
  const { data, errors } = (await response.json()) as { data: T; errors?: unknown };
  if (errors !== undefined) throw new Error(`GraphQL errors: ${JSON.stringify(errors)}`);
  return data;
}

const CREATE = `mutation ($input: CreateWebhookSubscriptionInput!) {
  createWebhookSubscription(input: $input) {
    ... on CreateWebhookSubscriptionPayload { secret subscription { id } }
    ... on Error { code message }
  }
}`;

export async function subscribe(
  graphql: TestApp['graphql'],
  input: SubscribeInput,
): Promise<{ id: string; secret: string }> {
  type Answer = { createWebhookSubscription: { secret?: string; subscription?: { id: string }; message?: string } };
  const variables = { input: { tenant: 'acme', eventTypes: ['*'], ...input } };
  // On a slow machine, one of many waits for a connection to Postgres for longer than its limit, and is not created.
  const isBusy = (error: unknown) => error instanceof Error && error.message.includes('SERVICE_UNAVAILABLE');
  const answer = await repeatIf(isBusy, { times: 10, work: () => graphql<Answer>(CREATE, variables) });
  const { createWebhookSubscription: result } = answer;
  if (result.subscription === undefined || result.secret === undefined) throw new Error(result.message);
  return { id: result.subscription.id, secret: result.secret };
}
