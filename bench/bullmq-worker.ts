import { Agent } from 'node:http';
import { type Job, Worker } from 'bullmq';
import got from 'got';
import { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';
import pg from 'pg';
import { redactRequestHeaders, redactResponseHeaders, webhookBody } from '../src/delivery/sending/attempt.ts';
import { signingHeaders } from '../src/delivery/sending/request-auth.ts';
import { type DeliveryJob, JOB_OPTIONS, QUEUE } from './bullmq-job.ts';
import { type AttemptRow, writeAttempt } from './bullmq-log.ts';
import { obey } from './bullmq-process.ts';

type Subscription = {
  readonly url: string;
  readonly timeoutMs: number;
  readonly secretId: string;
  readonly secret: string;
};

const CONCURRENCY = 64;
const MAX_CONNECTIONS = 20;

const client = got.extend({
  method: 'POST',
  agent: { http: new Agent({ keepAlive: true, maxSockets: 1_000, maxFreeSockets: CONCURRENCY, timeout: 30_000 }) },
  // BullMQ schedules the retries.
  retry: { limit: 0 },
  throwHttpErrors: false,
  followRedirect: false,
});

async function loadSubscription(pool: pg.Pool, id: string): Promise<Subscription> {
  const { rows } = await pool.query<Subscription>(
    `SELECT s.url, s.timeout_ms AS "timeoutMs", k.id AS "secretId", k.encrypted_secret AS secret
     FROM webhook_subscriptions s JOIN signing_secrets k ON k.subscription_id = s.id
     WHERE s.id = $1 AND s.is_active AND k.expires_at IS NULL`,
    [id],
  );
  if (rows[0] === undefined) throw new Error(`there is no webhook subscription ${id}`);
  return rows[0];
}

/** Makes one attempt and returns its row for the log. */
async function attempt({ data, attemptsMade }: Job<DeliveryJob>, subscription: Subscription): Promise<AttemptRow> {
  const startedAt = new Date();
  const number = attemptsMade + 1;
  const body = webhookBody({ ...data, data: Buffer.from(data.data) });
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'webhooks-bullmq/1.0.0',
    ...signingHeaders({
      secrets: [subscription.secret],
      eventId: data.eventId,
      body,
      timestampSeconds: Math.floor(startedAt.getTime() / 1_000),
    }),
    'webhook-event': data.eventType,
    'webhook-delivery': data.deliveryId,
    'webhook-attempt': String(number),
  };
  const row = { job: data, number, startedAt, secretId: subscription.secretId, payloadSizeBytes: body.length };
  const request = { ...row, requestHeaders: redactRequestHeaders(headers, []) };
  try {
    const response = await client(subscription.url, { headers, body, timeout: { request: subscription.timeoutMs } });
    const responseHeaders = Object.entries(response.headers).map(([name, value]) => [name, String(value)] as const);
    return {
      ...request,
      response: {
        statusCode: response.statusCode,
        headers: redactResponseHeaders(Object.fromEntries(responseHeaders)),
        body: response.body.slice(0, 16_384),
      },
    };
  } catch (error) {
    return { ...request, errorMessage: error instanceof Error ? error.message : String(error) };
  }
}

obey(async ({ databaseUrl, redisUrl }) => {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: MAX_CONNECTIONS });
  const subscriptions = new LRUCache<string, Promise<Subscription>>({ max: 1_000, ttl: 60_000 });
  let left = 0;
  let finish: (() => void) | undefined;
  const deliver = async (job: Job<DeliveryJob>) => {
    const { subscriptionId } = job.data;
    const load = subscriptions.get(subscriptionId) ?? loadSubscription(pool, subscriptionId);
    subscriptions.set(subscriptionId, load);
    const row = await attempt(job, await load);
    const isOk = row.response !== undefined && row.response.statusCode >= 200 && row.response.statusCode < 300;
    await writeAttempt(pool, { ...row, isOk, isLast: row.number === JOB_OPTIONS.attempts });
    if (!isOk) throw new Error('the delivery failed');
    left -= 1;
    if (left === 0) finish?.();
  };
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const worker = new Worker<DeliveryJob>(QUEUE, deliver, { connection, concurrency: CONCURRENCY });
  worker.on('error', (error) => {
    console.error(error);
  });
  await worker.waitUntilReady();
  return (deliveries) =>
    new Promise((resolve) => {
      left = deliveries;
      finish = resolve;
    });
});
