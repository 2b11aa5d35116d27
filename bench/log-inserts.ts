import { type Result, writeResults } from '../src/delivery/sending/write-results.ts';
import { insertBatch } from '../src/events/insert-batch.ts';
import type { NewEvent } from '../src/events/store.ts';
import { uuid7 } from '../src/lib/uuid7.ts';
import type { Queryable } from '../src/postgres/client.ts';
import { clockMs } from './clock.ts';
import type { Stack } from './stack.ts';

const BATCH = 64;
const ROUNDS = 100;
const DATA = Buffer.from('{}');
const TYPES = ['conversation.created', 'conversation.closed', 'order.placed', 'order.paid', 'visitor.left'] as const;

/**
 * Writes batches of 64 rows as the dispatcher and the sender do, for all subscriptions round-robin. Returns the
 * milliseconds of each batch.
 */
export async function insertBatches(query: Stack['query']): Promise<Record<string, number[]>> {
  const db: Queryable = {
    // `as`: the caller declares the type of the rows it selects.
    // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as in Queryable
    query: async <Row>(text: string, values?: unknown[]) => ({ rows: (await query(text, values)) as Row[] }),
  };
  const subscriptions = await query<{ id: string; tenant: string }>('SELECT id, tenant FROM webhook_subscriptions');
  const times = { deliveries: new Array<number>(), results: new Array<number>() };
  for (let round = 0; round < ROUNDS; round += 1) {
    const deliveries = Array.from({ length: BATCH }, (_, index) => {
      const { id, tenant } = subscriptions[(round * BATCH + index * 7) % subscriptions.length] ?? {
        id: '',
        tenant: '',
      };
      const eventType = TYPES[index % TYPES.length] ?? TYPES[0];
      return { id: uuid7(Date.now()), tenant, subscriptionId: id, eventType, eventRowId: uuid7(Date.now()) };
    });
    const events = deliveries.map(eventOf);
    let from = clockMs();
    await insertBatch(db, { events, deliveries, known: undefined });
    times.deliveries.push(clockMs() - from);
    const results = deliveries.map((delivery, index) => resultOf(delivery, index));
    from = clockMs();
    await writeResults(db, results);
    times.results.push(clockMs() - from);
  }
  return { [`write ${BATCH} events and deliveries`]: times.deliveries, [`write ${BATCH} results`]: times.results };
}

type Delivery = {
  readonly id: string;
  readonly tenant: string;
  readonly subscriptionId: string;
  readonly eventType: string;
  readonly eventRowId: string;
};

function eventOf({ eventRowId: id, tenant, eventType: type }: Delivery): NewEvent {
  return { id, tenant, eventId: id, type, occurredAt: new Date(), data: DATA };
}

/** One in 50 results is a failure. */
function resultOf({ id, tenant, subscriptionId, eventType }: Delivery, index: number): Result {
  const hasFailed = index % 50 === 0;
  return {
    attempt: {
      id: uuid7(Date.now()),
      deliveryId: id,
      subscriptionId,
      tenant,
      eventType,
      number: 1,
      status: hasFailed ? 'FAILURE' : 'SUCCESS',
      failureReason: hasFailed ? 'HTTP_STATUS' : null,
      statusCode: hasFailed ? 500 : 200,
      responseTimeMs: 20 + index,
      startedAt: new Date(),
      requestHeaders: { 'webhook-signature': 'v1,'.padEnd(300, id) },
      responseHeaders: { date: ''.padEnd(120, id) },
      responseBody: ''.padEnd(200, id),
      responseBodyTruncated: false,
      errorMessage: null,
      payloadSizeBytes: 420,
      url: 'https://hooks.example.com/webhooks/incoming',
      remoteAddress: '203.0.113.7',
      dnsMs: null,
      connectMs: null,
      tlsMs: null,
      firstByteMs: 20 + index,
      bodyMs: 1,
      isTest: false,
      signingSecretIds: [subscriptionId],
    },
    status: hasFailed ? 'FAILURE' : 'SUCCESS',
    nextAttemptInMs: null,
    waitingFor: null,
    staysEnqueued: false,
  };
}
