import { pino } from 'pino';
import { expect, it } from 'vitest';
import type { Outcome, PostRequest } from '../../src/delivery/http/request.ts';
import type { DeliveryEnvelope } from '../../src/delivery/queue/message.ts';
import type { Lease } from '../../src/delivery/queue/store.ts';
import { type HandlerDeps, handleDelivery, INFRA_RETRY_MS } from '../../src/delivery/sending/handle-delivery.ts';
import type { NewResult } from '../../src/delivery/sending/result-writer.ts';
import { PermanentError } from '../../src/postgres/errors.ts';
import { type SenderSubscription, UnusableSubscriptionError } from '../../src/subscriptions/cache.ts';

const NOW = Date.parse('2026-01-31T12:00:00.000Z');

const SUBSCRIPTION: SenderSubscription = {
  id: 'subscription',
  tenant: 'acme',
  url: 'https://example.com/hook',
  isActive: true,
  timeoutMs: 15_000,
  maxInFlight: 10,
  rateLimitPerSecond: null,
  isOpen: false,
  pausedUntil: null,
  headerNames: [],
  version: 3,
  headers: {},
  secrets: [{ id: 'secret', secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}`, expiresAt: undefined }],
};

const DELIVERY: DeliveryEnvelope = {
  deliveryId: 'delivery',
  tenant: 'acme',
  subscriptionId: 'subscription',
  subscriptionVersion: 3,
  eventId: 'event',
  eventType: 'order.paid',
  occurredAt: '2026-01-31T11:59:59.000Z',
  enqueueCount: 1,
  mayBeDuplicate: false,
  isProbe: false,
  isTest: false,
  sendAt: undefined,
  data: Buffer.from('{"n":1}'),
  publishedAt: NOW,
};

const respond = (statusCode: number, headers: Record<string, string> = {}): Outcome => ({
  kind: 'response',
  statusCode,
  headers,
  body: 'ok',
  bodyTruncated: false,
  responseTimeMs: 12,
});

type Setup = {
  readonly delivery?: Partial<DeliveryEnvelope>;
  /** Null: the subscription does not exist. */
  readonly subscription?: Partial<SenderSubscription> | null;
  readonly outcome?: Outcome;
  readonly redelivered?: boolean;
  readonly isFirst?: boolean;
  readonly isCancelled?: boolean;
  readonly lease?: Lease;
  readonly mayReserveNak?: boolean;
  /** Whether the delivery is pending and has no newer message. */
  readonly isCurrent?: boolean;
  readonly hasPermit?: boolean;
  readonly hasSendTime?: boolean;
  readonly sendTime?: number | undefined;
  readonly deps?: Partial<HandlerDeps>;
  readonly statements?: Partial<HandlerDeps['statements']>;
  readonly stop?: 'taking' | 'working';
};

type Call = readonly [name: string, ...details: unknown[]];

/** Handles one delivery over fakes that record what the handler asks of them. */
async function handle(setup: Setup = {}) {
  const calls: Call[] = [];
  const results: NewResult[] = [];
  const requests: PostRequest[] = [];
  const record =
    <T>(name: string, answer: T) =>
    (...details: unknown[]): Promise<T> => {
      calls.push([name, ...details]);
      return Promise.resolve(answer);
    };
  const subscription = setup.subscription === null ? undefined : { ...SUBSCRIPTION, ...setup.subscription };
  const [stopTaking, stopWorking] = [new AbortController(), new AbortController()];
  const deps: HandlerDeps = {
    subscriptions: { get: () => Promise.resolve(subscription) },
    statements: {
      lease: record('lease', setup.lease ?? { kind: 'leased', attemptCount: 0 }),
      requeueAtLimit: record('requeueAtLimit', undefined),
      delay: record('delay', setup.isCurrent ?? true),
      requeue: record('requeue', undefined),
      requeueLater: record('requeueLater', undefined),
      cancel: record('cancel', undefined),
      loadData: record('loadData', Buffer.from('{"loaded":true}')),
      reserveSendTime: record('reserveSendTime', 'sendTime' in setup ? setup.sendTime : NOW + 200),
      ...setup.statements,
    },
    limiter: {
      acquire: record('acquire', setup.hasPermit ?? true),
      release: () => void calls.push(['release']),
      waitForSendTime: record('waitForSendTime', setup.hasSendTime ?? true),
    },
    starts: { waitForStart: () => Promise.resolve() },
    delayedNaks: { reserve: () => setup.mayReserveNak ?? true },
    cancellations: { has: () => setup.isCancelled ?? false },
    redeliveryGuard: { isOnlyMessage: () => setup.isFirst ?? true },
    results: {
      write: (result) => {
        results.push(result);
        return Promise.resolve();
      },
    },
    circuits: { deactivateGone: record('deactivateGone', undefined) },
    authenticate: () => ({ 'webhook-id': DELIVERY.eventId }),
    post: (request) => {
      requests.push(request);
      if (setup.stop === 'working') stopWorking.abort();
      return Promise.resolve(setup.outcome ?? respond(200));
    },
    userAgent: 'test',
    clock: { now: () => NOW },
    random: () => 0.5,
    retryScheduleMs: [5_000, 300_000],
    log: pino({ level: 'silent' }),
    logAttempts: 'none',
    stopTaking: stopTaking.signal,
    stopWorking: stopWorking.signal,
    ...setup.deps,
  };
  if (setup.stop === 'taking') stopTaking.abort();
  const message = { redelivered: setup.redelivered ?? false, seq: 11, headers: undefined };
  const startedAt = performance.now();
  const disposition = await handleDelivery(deps, {
    message,
    delivery: { ...DELIVERY, ...setup.delivery },
    permits: 1,
  });
  const delayMs = disposition.kind === 'nakUntil' ? Math.round((disposition.dueAt - startedAt) / 100) * 100 : undefined;
  const changes = calls.filter(([name]) => !['acquire', 'release', 'waitForSendTime'].includes(name));
  return { disposition: disposition.kind, delayMs, results, requests, calls, changes };
}

const fail = (error: Error) => ({ subscriptions: { get: () => Promise.reject(error) } });
const unavailable = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

it('a success is recorded and acked, without a lease', async () => {
  const { disposition, results, requests, changes } = await handle();
  expect({ disposition, changes }).toEqual({ disposition: 'ack', changes: [] });
  expect(results).toMatchObject([
    { status: 'SUCCESS', dueAt: null, waitingFor: null, staysEnqueued: false, attempt: { number: 1, statusCode: 200 } },
  ]);
  expect(requests).toMatchObject([
    { url: SUBSCRIPTION.url, headers: { 'webhook-id': 'event', 'webhook-attempt': '1' }, timeoutMs: 15_000 },
  ]);
});

it('a failure is recorded as pending, and its message redelivered after the backoff', async () => {
  const { disposition, delayMs, results } = await handle({ outcome: respond(500) });
  expect({ disposition, delayMs }).toEqual({ disposition: 'nakUntil', delayMs: 5_000 });
  expect(results).toMatchObject([
    {
      status: 'PENDING',
      dueAt: expect.any(Number) as number,
      waitingFor: 'BACKOFF',
      staysEnqueued: true,
      attempt: { status: 'FAILURE', number: 1 },
    },
  ]);
});

it('a retry that cannot wait in JetStream waits in Postgres, and its message is acked', async () => {
  const { disposition, results } = await handle({ outcome: respond(500), mayReserveNak: false });
  expect(disposition).toBe('ack');
  expect(results).toMatchObject([{ status: 'PENDING', staysEnqueued: false }]);
});

it('the retry of a probe waits in Postgres: its message would make another probe', async () => {
  const { disposition, results } = await handle({ outcome: respond(500), delivery: { isProbe: true } });
  expect(disposition).toBe('ack');
  expect(results).toMatchObject([{ status: 'PENDING', staysEnqueued: false }]);
});

it('Retry-After lengthens the wait', async () => {
  const { delayMs, results } = await handle({ outcome: respond(503, { 'retry-after': '40' }) });
  expect(delayMs).toBe(42_000);
  expect(results).toMatchObject([{ waitingFor: 'RETRY_AFTER' }]);
});

it('a delivery fails after the last retry of its schedule', async () => {
  const lease = { kind: 'leased', attemptCount: 2 } as const;
  const { disposition, results } = await handle({ outcome: respond(500), isFirst: false, lease });
  expect(disposition).toBe('ack');
  expect(results).toMatchObject([{ status: 'FAILURE', dueAt: null, staysEnqueued: false, attempt: { number: 3 } }]);
});

it('a 410 fails the delivery and deactivates the subscription, once the result is committed', async () => {
  const { disposition, results, changes } = await handle({ outcome: respond(410) });
  expect({ disposition, changes }).toEqual({
    disposition: 'ack',
    changes: [['deactivateGone', 'subscription', SUBSCRIPTION.url]],
  });
  expect(results).toMatchObject([{ status: 'FAILURE' }]);
});

it.each([
  ['inactive', { isActive: false }],
  ['deleted', null],
])('a delivery of a subscription that is %s is cancelled', async (_name, subscription) => {
  const { disposition, changes, requests } = await handle({ subscription });
  expect({ disposition, changes }).toEqual({ disposition: 'ack', changes: [['cancel', 'delivery']] });
  expect(requests).toEqual([]);
});

it('a subscription that is deactivated while its delivery waits for a start cancels it', async () => {
  const versions = [SUBSCRIPTION, { ...SUBSCRIPTION, isActive: false }];
  const deps = { subscriptions: { get: () => Promise.resolve(versions.shift()) } };
  const { disposition, changes, requests, calls } = await handle({ deps });
  expect({ disposition, changes }).toEqual({ disposition: 'ack', changes: [['cancel', 'delivery']] });
  expect(requests).toEqual([]);
  expect(calls.at(-2)).toEqual(['release']);
});

it('a delivery that a user cancelled is not sent: even a first attempt requires a lease', async () => {
  const { disposition, requests } = await handle({ isCancelled: true, lease: { kind: 'over' } });
  expect(disposition).toBe('ack');
  expect(requests).toEqual([]);
});

it('a delivery waits for the send time that was reserved when it was published', async () => {
  const setup = { subscription: { rateLimitPerSecond: 5 }, delivery: { sendAt: NOW + 400 } };
  const { calls, requests } = await handle(setup);
  const wait: unknown = expect.objectContaining({ waitMs: 400 });
  expect(calls).toContainEqual(['waitForSendTime', expect.anything(), wait]);
  expect(calls.map(([name]) => name)).not.toContain('reserveSendTime');
  expect(requests).toHaveLength(1);
});

it('a redelivered message reserves a new send time, and waits for a second at most', async () => {
  const setup = { subscription: { rateLimitPerSecond: 5 }, delivery: { sendAt: NOW }, redelivered: true };
  const { calls } = await handle({ ...setup, sendTime: NOW + 5_000 });
  const wait: unknown = expect.objectContaining({ waitMs: 1_000 });
  expect(calls).toContainEqual(['waitForSendTime', expect.anything(), wait]);
});

const queuedFor = (reason: string) => ({
  disposition: 'ack',
  changes: [['requeueAtLimit', { deliveryId: 'delivery', enqueueCount: 1, reason }]],
  requests: [],
});

it('a delivery without a free send time is queued', async () => {
  const setup = { subscription: { rateLimitPerSecond: 5 }, sendTime: undefined };
  const { disposition, changes, requests } = await handle(setup);
  expect({ disposition, changes: changes.slice(1), requests }).toEqual(queuedFor('RATE_LIMITED'));
});

it.each([
  [
    'too many wait for their send time',
    { subscription: { rateLimitPerSecond: 5 }, hasSendTime: false },
    'RATE_LIMITED',
  ],
  ['the circuit is open', { subscription: { isOpen: true } }, 'CIRCUIT_OPEN'],
  ['the subscription is paused', { subscription: { isOpen: true, pausedUntil: new Date(NOW + 1) } }, 'PAUSED'],
  ['the limit of attempts in flight is reached', { hasPermit: false }, 'IN_FLIGHT_LIMIT'],
])('a delivery is queued when %s', async (_name, setup: Setup, reason) => {
  const { disposition, changes, requests } = await handle({ ...setup, delivery: { sendAt: NOW } });
  expect({ disposition, changes, requests }).toEqual(queuedFor(reason));
});

it.each(['isProbe', 'isTest'])(
  'a delivery with %s is attempted although the circuit is open and the subscription paused',
  async (name) => {
    const subscription = { isOpen: true, pausedUntil: new Date(NOW + 1) };
    const { requests } = await handle({ subscription, delivery: { [name]: true } });
    expect(requests).toHaveLength(1);
  },
);

it.each<[what: string, setup: Setup, answer: [disposition: string, change: string]]>([
  ['is redelivered', {}, ['nakUntil', 'delay']],
  ['is over if it has ended or has a newer message', { isCurrent: false }, ['ack', 'delay']],
  ['is redelivered for a minute', { delivery: { publishedAt: NOW - 59_999 } }, ['nakUntil', 'delay']],
  ['is queued after a minute', { delivery: { publishedAt: NOW - 60_000 } }, ['ack', 'requeueAtLimit']],
  ['is queued if too many others are delayed', { mayReserveNak: false }, ['ack', 'requeueAtLimit']],
])('a delivery that a user requested %s while its limit is reached', async (_what, setup, [expected, change]) => {
  const delivery = { ...setup.delivery, isProbe: true, isRequested: true };
  const { disposition, changes } = await handle({ ...setup, hasPermit: false, delivery });
  const limited = { deliveryId: 'delivery', enqueueCount: 1, reason: 'IN_FLIGHT_LIMIT' };
  expect({ disposition, changes }).toEqual({ disposition: expected, changes: [[change, limited]] });
});

it('a delivery is attempted once the pause is over, also if the sender was not notified', async () => {
  const { requests } = await handle({ subscription: { pausedUntil: new Date(NOW) } });
  expect(requests).toHaveLength(1);
});

it('a delivery whose subscription has unreadable secrets is queued for later', async () => {
  const { disposition, changes } = await handle({ deps: fail(new UnusableSubscriptionError('no secret')) });
  expect({ disposition, changes }).toEqual({ disposition: 'ack', changes: [['requeueLater', 'delivery']] });
});

it('a delivery whose subscription has no valid secret is queued for later', async () => {
  const secrets = SUBSCRIPTION.secrets.map((secret) => ({ ...secret, expiresAt: new Date(NOW) }));
  const { disposition, changes, requests, calls } = await handle({ subscription: { secrets } });
  expect({ disposition, changes, requests }).toEqual({
    disposition: 'ack',
    changes: [['requeueLater', 'delivery']],
    requests: [],
  });
  expect(calls.map(([name]) => name)).toEqual(['acquire', 'release', 'requeueLater']);
});

it('a test whose subscription cannot be used is cancelled', async () => {
  const deps = fail(new UnusableSubscriptionError('no secret'));
  const { disposition, changes } = await handle({ deps, delivery: { isTest: true } });
  expect({ disposition, changes }).toEqual({ disposition: 'ack', changes: [['cancel', 'delivery']] });
});

const INFRA_RETRY = { disposition: 'nakUntil', delayMs: INFRA_RETRY_MS, changes: [] };

it('while Postgres is unavailable the message is redelivered after five seconds', async () => {
  const { disposition, delayMs, changes } = await handle({ deps: fail(unavailable) });
  expect({ disposition, delayMs, changes }).toEqual(INFRA_RETRY);
});

it('while Postgres is unavailable and JetStream delays too many messages, a message is kept until it is tried again', async () => {
  const stopTaking = new AbortController();
  let isSettled = false;
  const handled = handle({ deps: { ...fail(unavailable), stopTaking: stopTaking.signal }, mayReserveNak: false });
  void handled.then(() => void (isSettled = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(isSettled).toBe(false);
  stopTaking.abort();
  expect(await handled).toMatchObject({ disposition: 'nakUntil', changes: [] });
});

it('a message whose delivery cannot even be queued for later is redelivered', async () => {
  const deps = fail(new UnusableSubscriptionError('no secret'));
  const statements = { requeueLater: () => Promise.reject(unavailable) };
  const { disposition, delayMs, changes } = await handle({ deps, statements });
  expect({ disposition, delayMs, changes }).toEqual(INFRA_RETRY);
});

it('a result that is not committed is never acked', async () => {
  const results = { write: () => Promise.reject(unavailable) };
  const { disposition, delayMs, changes, requests } = await handle({ deps: { results } });
  expect({ disposition, delayMs, changes }).toEqual(INFRA_RETRY);
  expect(requests).toHaveLength(1);
});

it('the delivery of a result that Postgres rejects permanently is queued for later', async () => {
  const results = { write: () => Promise.reject(new PermanentError('refused')) };
  const { disposition, changes } = await handle({ deps: { results } });
  expect({ disposition, changes }).toEqual({ disposition: 'ack', changes: [['requeueLater', 'delivery']] });
});

it.each<[string, Setup]>([
  ['may be a duplicate', { delivery: { mayBeDuplicate: true } }],
  ['is not the first of its delivery', { delivery: { enqueueCount: 2 } }],
  ['may have been delivered before', { isFirst: false }],
  ['is older than a change of the subscription', { subscription: { version: 4 } }],
])('a message that %s takes a lease, which gives the number of the attempt', async (_name, setup) => {
  const { changes, results } = await handle({ ...setup, lease: { kind: 'leased', attemptCount: 1 } });
  const enqueueCount = setup.delivery?.enqueueCount ?? 1;
  expect(changes).toEqual([['lease', { deliveryId: 'delivery', enqueueCount, leaseMs: 25_000 }]]);
  expect(results).toMatchObject([{ attempt: { number: 2 } }]);
});

it('the message of a delivery that has ended is acked', async () => {
  const { disposition, requests } = await handle({ isFirst: false, lease: { kind: 'over' } });
  expect({ disposition, requests }).toEqual({ disposition: 'ack', requests: [] });
});

it('the message of a delivery that another sender leases is redelivered when the lease ends', async () => {
  const lease = { kind: 'not yet', waitMs: 20_000 } as const;
  const { disposition, delayMs, requests } = await handle({ isFirst: false, lease });
  expect({ disposition, delayMs, requests }).toEqual({ disposition: 'nakUntil', delayMs: 20_000, requests: [] });
});

it('a delivery that is not due is queued if JetStream may not delay its message', async () => {
  const lease = { kind: 'not yet', waitMs: 20_000 } as const;
  const { disposition, changes } = await handle({ isFirst: false, lease, mayReserveNak: false });
  expect({ disposition, changes: changes.slice(1) }).toEqual({
    disposition: 'ack',
    changes: [['requeue', 'delivery']],
  });
});

it('data that is too large for a message is read from Postgres', async () => {
  const { requests } = await handle({ delivery: { data: undefined } });
  expect(requests[0]?.body.toString()).toContain('"data":{"loaded":true}}');
});

it('a test is attempted once, within the limit of its tenant', async () => {
  const { disposition, results, calls } = await handle({ delivery: { isTest: true }, outcome: respond(500) });
  expect(disposition).toBe('ack');
  expect(results).toMatchObject([{ status: 'FAILURE', dueAt: null }]);
  const name = 'tests of acme';
  expect(calls[0]).toMatchObject([
    'acquire',
    { delivery: { subscriptionId: name, tenant: name } },
    { maxInFlight: 10 },
  ]);
});

it('a test ignores the rate limit of its subscription', async () => {
  const setup = { subscription: { rateLimitPerSecond: 5 }, delivery: { isTest: true }, sendTime: undefined };
  const { requests, changes } = await handle(setup);
  expect(requests).toHaveLength(1);
  expect(changes).toEqual([]);
});

it('a test that exceeds the limit of its tenant is redelivered: it is never queued', async () => {
  const { disposition, delayMs, changes } = await handle({ delivery: { isTest: true }, hasPermit: false });
  expect({ disposition, delayMs, changes }).toEqual(INFRA_RETRY);
});

it.each<[string, Setup]>([
  ['that would have started', {}],
  ['that is blocked', { subscription: { isOpen: true } }],
])('a sender that stops returns the message of a delivery %s', async (_name, setup) => {
  const { disposition, changes, requests } = await handle({ ...setup, stop: 'taking' });
  expect({ disposition, changes, requests }).toEqual({ disposition: 'nak', changes: [], requests: [] });
});

const aborted: Outcome = { kind: 'failure', reason: 'OTHER', message: 'aborted', responseTimeMs: 1 };

it('an attempt that the stopping sender aborted is not recorded, and its message is redelivered', async () => {
  const { disposition, results } = await handle({ stop: 'working', outcome: aborted });
  expect({ disposition, results }).toEqual({ disposition: 'nak', results: [] });
});

it('a response received before the sender stopped is recorded', async () => {
  const { disposition, results } = await handle({ stop: 'working', outcome: respond(200) });
  expect(disposition).toBe('ack');
  expect(results).toHaveLength(1);
});

it('authentication headers can be fetched; after a temporary failure of the fetch, no attempt is made', async () => {
  const fetched = await handle({ deps: { authenticate: () => Promise.resolve({ authorization: 'Bearer t' }) } });
  expect(fetched.requests[0]?.headers).toMatchObject({ authorization: 'Bearer t', 'webhook-attempt': '1' });
  const failed = await handle({ deps: { authenticate: () => Promise.reject(unavailable) } });
  expect(failed).toMatchObject({ ...INFRA_RETRY, requests: [], results: [] });
});
