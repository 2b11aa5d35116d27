import type { Logger } from 'pino';
import { MAX_PENDING_TESTS } from '../../events/test-event.ts';
import type { WaitReason } from '../../generated/prisma/enums.ts';
import { type Tracing, traceFields } from '../../lib/tracing.ts';
import { pause } from '../../lib/waiting.ts';
import type { JetStreamMessage } from '../../nats/connection.ts';
import { isTransient } from '../../postgres/errors.ts';
import type { SenderSubscription } from '../../subscriptions/cache.ts';
import type { DeliveryEnvelope, DeliveryMessage } from '../queue/message.ts';
import { SEND_TIME_HORIZON_MS } from '../queue/send-times.ts';
import { LEASE_MARGIN_MS, type Lease, type LeaseRequest, type LimitedDelivery } from '../queue/store.ts';
import { type AttemptDeps, makeAttempt, type NewAttempt } from './attempt.ts';
import { type LogAttempts, logAttempt } from './attempt-metrics.ts';
import type { NewResult } from './result-writer.ts';
import { type NextStep, nextStep, nextStepOfTest } from './retry-policy.ts';
import type { LimiterEntry, SubscriptionLimits } from './subscription-limiter.ts';
import { endAttemptSpan, startAttemptSpan } from './trace.ts';

/** A delivery whose message the sender has taken and not acknowledged yet. */
export type InFlightDelivery = {
  readonly message: Pick<JetStreamMessage, 'redelivered' | 'seq' | 'headers'>;
  readonly delivery: DeliveryEnvelope;
  /** Permits it takes from the sender's semaphore. */
  readonly permits: number;
};

/** How the sender answers JetStream once a delivery has been handled. */
export type Disposition =
  /** The result is committed, the delivery is queued in Postgres, or another message replaces this one. */
  | { readonly kind: 'ack' }
  /** Redeliver the message immediately, or after `delayMs`. */
  | { readonly kind: 'nak'; readonly delayMs?: number }
  /** Redeliver the message at `dueAt`, on performance.now()'s clock. */
  | { readonly kind: 'nakUntil'; readonly dueAt: number };

/** The operations that the handler needs. The sender provides them. */
export type HandlerDeps = AttemptDeps & {
  readonly subscriptions: { get(id: string, minVersion: number): Promise<SenderSubscription | undefined> };
  readonly statements: DeliveryStatements;
  readonly limiter: Limiter;
  readonly starts: { waitForStart(tenant: string): Promise<void> };
  /** False if JetStream may not delay the message: it is due too late, or too many messages are delayed already. */
  readonly delayedNaks: { reserve(dueAt: number, now: number, kind?: 'requested'): boolean };
  readonly cancellations: { has(deliveryId: string): boolean };
  /** Whether the message certainly is the only message of its delivery and was not delivered before. */
  readonly redeliveryGuard: {
    isOnlyMessage(message: InFlightDelivery['message'], delivery: DeliveryEnvelope): boolean;
  };
  /** Resolves when the result is committed. */
  readonly results: { write(result: NewResult): Promise<void> };
  readonly circuits: { deactivateGone(subscriptionId: string, url: string): Promise<void> };
  readonly retryScheduleMs: readonly number[];
  /** From 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
  readonly logAttempts: LogAttempts;
  readonly tracing?: Tracing | undefined;
  /** Whether receivers get the header `traceparent`, if there is a trace. */
  readonly sendsTraceParent?: boolean;
  /** Aborted when the sender stops: no further attempt starts. */
  readonly stopTaking: AbortSignal;
  /** Aborted at the end of the stop's time limit: aborts running attempts. */
  readonly stopWorking: AbortSignal;
};

/** Changes of one delivery in Postgres, by its id. */
export type DeliveryStatements = {
  lease(request: LeaseRequest): Promise<Lease>;
  /** Queues the delivery because a limit or the circuit of its subscription blocks it. */
  requeueAtLimit(delivery: LimitedDelivery): Promise<void>;
  /** Delays the delivery by INFRA_RETRY_MS without queueing it; false if it has ended or has a newer message. */
  delay(delivery: LimitedDelivery): Promise<boolean>;
  /** Queues the delivery until its next attempt is due. */
  requeue(deliveryId: string): Promise<void>;
  /** Queues the delivery for ten minutes, after an error that concerns only this delivery. */
  requeueLater(deliveryId: string): Promise<void>;
  cancel(deliveryId: string): Promise<void>;
  /** The data of its event; undefined if the event was deleted. */
  loadData(deliveryId: string): Promise<Buffer | undefined>;
  /** The time in Unix milliseconds at which the rate limit allows a request; undefined if that is over a second ahead, or if there is no limit now. */
  reserveSendTime(subscriptionId: string): Promise<number | undefined>;
};

type Limiter = {
  acquire(entry: LimiterEntry, limits: SubscriptionLimits): Promise<boolean>;
  release(entry: LimiterEntry): void;
  waitForSendTime(entry: LimiterEntry, options: { waitMs: number; signal: AbortSignal }): Promise<boolean>;
};

const ACK: Disposition = { kind: 'ack' };
const NAK: Disposition = { kind: 'nak' };
/**
 * Redelivery delay after an infrastructure error, such as Postgres being unavailable, and of a requested attempt at a limit.
 */
export const INFRA_RETRY_MS = 5_000;
/**
 * Milliseconds after its request for which an attempt that a limit delays stays in JetStream. Bounded, because the oldest
 * message there bounds the search for lost ones (queue/sweeper.ts).
 */
const REQUESTED_FOR_MS = 60_000;

/** Attempts, queues or cancels a delivery, and returns how to answer its message. Never rejects. */
export async function handleDelivery(deps: HandlerDeps, inFlight: InFlightDelivery): Promise<Disposition> {
  try {
    const result = await tryAttempt(deps, inFlight);
    return typeof result === 'string' ? await handleObstacle(deps, inFlight, result) : result;
  } catch (error) {
    return handleError(deps, inFlight, error);
  }
}

/** The reason why the delivery is not attempted now. */
type Obstacle = WaitReason | 'INACTIVE';

async function handleObstacle(
  deps: HandlerDeps,
  { delivery }: InFlightDelivery,
  obstacle: Obstacle,
): Promise<Disposition> {
  const { statements } = deps;
  const { deliveryId, enqueueCount, isTest } = delivery;
  if (deps.stopTaking.aborted) return NAK;
  if (obstacle === 'INACTIVE') {
    await statements.cancel(deliveryId);
    return ACK;
  }
  // The tenant's limit of concurrent tests is reached. A queued test would make real deliveries queue behind it.
  if (isTest) return nakAfterInfraRetry(deps);
  const limited = { deliveryId, enqueueCount, reason: obstacle };
  const dueAt = requestedAgainAt(deps, delivery);
  if (dueAt !== undefined) return (await statements.delay(limited)) ? { kind: 'nakUntil', dueAt } : ACK;
  await statements.requeueAtLimit(limited);
  return ACK;
}

/**
 * The time at which an attempt that a user requested, and that a limit delays, is tried again from JetStream, on
 * performance.now()'s clock. Once queued, it would wait for a pause, an open circuit and the deliveries before it, like any
 * other delivery: undefined for those.
 */
function requestedAgainAt(
  { delayedNaks, clock }: Pick<HandlerDeps, 'delayedNaks' | 'clock'>,
  { isRequested, publishedAt }: DeliveryEnvelope,
): number | undefined {
  if (isRequested !== true || clock.now() - publishedAt >= REQUESTED_FOR_MS) return undefined;
  const now = performance.now();
  const dueAt = now + INFRA_RETRY_MS;
  return delayedNaks.reserve(dueAt, now, 'requested') ? dueAt : undefined;
}

async function handleError(
  deps: HandlerDeps,
  { delivery: { deliveryId, isTest, traceParent } }: InFlightDelivery,
  error: unknown,
): Promise<Disposition> {
  const { statements, log } = deps;
  const facts = { err: error, deliveryId, ...traceFields(traceParent) };
  if (isTransient(error)) {
    log.error(facts, 'delivery not attempted; retrying');
    return nakAfterInfraRetry(deps);
  }
  // An immediate retry cannot fix this error (such as a secret that cannot be decrypted) and would block other deliveries.
  const consequence = isTest ? 'cancelling the test' : 'retrying in ten minutes';
  log.error(facts, `delivery cannot be attempted; ${consequence}`);
  try {
    if (isTest) await statements.cancel(deliveryId);
    else await statements.requeueLater(deliveryId);
    return ACK;
  } catch {
    return nakAfterInfraRetry(deps);
  }
}

/**
 * If JetStream delays too many messages already, the delay passes here, and the message keeps its permits. So a sender
 * without Postgres takes new messages slowly, and does not reach the consumer's max_ack_pending within minutes.
 */
export async function nakAfterInfraRetry({
  delayedNaks,
  stopTaking,
}: Pick<HandlerDeps, 'delayedNaks' | 'stopTaking'>): Promise<Disposition> {
  const now = performance.now();
  const dueAt = now + INFRA_RETRY_MS;
  if (!delayedNaks.reserve(dueAt, now)) await pause(INFRA_RETRY_MS, stopTaking);
  return { kind: 'nakUntil', dueAt };
}

/** Attempts the delivery as soon as its limits allow, or returns what blocks it. */
async function tryAttempt(deps: HandlerDeps, inFlight: InFlightDelivery): Promise<Disposition | Obstacle> {
  const { subscriptions, limiter, starts, stopTaking } = deps;
  const { delivery } = inFlight;
  const { subscriptionId, subscriptionVersion } = delivery;
  const subscription = await subscriptions.get(subscriptionId, subscriptionVersion);
  const obstacle = obstacleOf(deps, delivery, subscription) ?? (await awaitRateLimit(deps, inFlight, subscription));
  if (subscription === undefined || obstacle !== undefined) return obstacle ?? 'INACTIVE';
  const entry = delivery.isTest ? testEntry(inFlight) : inFlight;
  if (!(await limiter.acquire(entry, delivery.isTest ? TEST_LIMITS : subscription))) return 'IN_FLIGHT_LIMIT';
  try {
    await starts.waitForStart(delivery.tenant);
    // The subscription may have changed during the wait.
    const current = await subscriptions.get(subscriptionId, subscriptionVersion);
    const newObstacle = obstacleOf(deps, delivery, current);
    if (current === undefined || newObstacle !== undefined) return newObstacle ?? 'INACTIVE';
    if (stopTaking.aborted) return NAK;
    return await attemptIfDue(deps, inFlight, current);
  } finally {
    limiter.release(entry);
  }
}

const TEST_LIMITS: SubscriptionLimits = { maxInFlight: MAX_PENDING_TESTS, rateLimitPerSecond: null };

/** Tests of a tenant share a separate limit: a test must show that an endpoint is overloaded, not wait for it. */
function testEntry({ delivery, permits }: InFlightDelivery): LimiterEntry {
  const name = `tests of ${delivery.tenant}`;
  return { delivery: { subscriptionId: name, tenant: name }, permits };
}

function obstacleOf(
  { clock }: Pick<HandlerDeps, 'clock'>,
  { isProbe, isTest }: DeliveryMessage,
  subscription: SenderSubscription | undefined,
): 'INACTIVE' | 'PAUSED' | 'CIRCUIT_OPEN' | undefined {
  if (subscription?.isActive !== true) return 'INACTIVE';
  if (isProbe || isTest) return undefined;
  const { pausedUntil, isOpen } = subscription;
  if (pausedUntil !== null && pausedUntil.getTime() > clock.now()) return 'PAUSED';
  return isOpen ? 'CIRCUIT_OPEN' : undefined;
}

/** Waits for the delivery's send time; 'RATE_LIMITED' if none is free soon, or too many deliveries wait for theirs. */
async function awaitRateLimit(
  { statements, limiter, clock, stopTaking }: HandlerDeps,
  inFlight: InFlightDelivery,
  subscription: SenderSubscription | undefined,
): Promise<'RATE_LIMITED' | undefined> {
  const { message, delivery } = inFlight;
  if (subscription?.rateLimitPerSecond == null || delivery.isTest) return undefined;
  // A redelivered message has already used its reserved send time.
  const reserved = message.redelivered ? undefined : delivery.sendAt;
  const sendAt = reserved ?? (await statements.reserveSendTime(subscription.id));
  if (sendAt === undefined) return 'RATE_LIMITED';
  const waitMs = Math.min(SEND_TIME_HORIZON_MS, sendAt - clock.now());
  return (await limiter.waitForSendTime(inFlight, { waitMs, signal: stopTaking })) ? undefined : 'RATE_LIMITED';
}

/** Attempts the delivery unless, in Postgres, it has ended, is not due, or is leased to another sender. */
async function attemptIfDue(
  deps: HandlerDeps,
  inFlight: InFlightDelivery,
  subscription: SenderSubscription,
): Promise<Disposition> {
  const { deliveryId, enqueueCount } = inFlight.delivery;
  if (isFirstAttempt(deps, inFlight, subscription)) return attempt(deps, inFlight, { subscription, number: 1 });
  const leaseMs = subscription.timeoutMs + LEASE_MARGIN_MS;
  const lease = await deps.statements.lease({ deliveryId, enqueueCount, leaseMs });
  switch (lease.kind) {
    case 'leased':
      return attempt(deps, inFlight, { subscription, number: lease.attemptCount + 1 });
    case 'over':
      return ACK;
    case 'not yet':
      return redeliverAfter(deps, deliveryId, lease.waitMs);
  }
}

/** Whether this is certainly the first attempt, which needs no lease. */
function isFirstAttempt(
  { redeliveryGuard, cancellations }: HandlerDeps,
  { message, delivery }: InFlightDelivery,
  subscription: SenderSubscription,
): boolean {
  // If the subscription has changed, it may have been deactivated, which cancels deliveries, and activated again.
  const isUnchanged = subscription.version === delivery.subscriptionVersion;
  const mayBeFirst = !delivery.mayBeDuplicate && delivery.enqueueCount === 1 && isUnchanged;
  return mayBeFirst && redeliveryGuard.isOnlyMessage(message, delivery) && !cancellations.has(delivery.deliveryId);
}

/** A broker that crashed loses redelivery delays, so a message may arrive before it is due. */
async function redeliverAfter(
  { statements, delayedNaks }: HandlerDeps,
  deliveryId: string,
  waitMs: number,
): Promise<Disposition> {
  const now = performance.now();
  if (delayedNaks.reserve(now + waitMs, now)) return { kind: 'nakUntil', dueAt: now + waitMs };
  await statements.requeue(deliveryId);
  return ACK;
}

async function attempt(
  deps: HandlerDeps,
  { delivery }: InFlightDelivery,
  { subscription, number }: { readonly subscription: SenderSubscription; readonly number: number },
): Promise<Disposition> {
  const { statements, retryScheduleMs, random, clock, stopWorking: signal } = deps;
  const data = delivery.data ?? (await statements.loadData(delivery.deliveryId));
  if (data === undefined) throw new Error(`delivery ${delivery.deliveryId} has no event`);
  const span = startAttemptSpan(deps.tracing, { delivery, url: subscription.url, number });
  const traceParent = deps.sendsTraceParent === true ? span?.traceParent : undefined;
  const input = { delivery: { ...delivery, data }, subscription, number, traceParent, signal };
  const made = await makeAttempt(deps, input).catch((error: unknown) => {
    span?.end({ error: 'INVALID_REQUEST' });
    throw error;
  });
  endAttemptSpan(span, made.attempt);
  const { outcome } = made;
  // This process aborted the request, which shows nothing about the receiver.
  if (signal.aborted && outcome.kind === 'failure') return NAK;
  const decision = delivery.isTest
    ? nextStepOfTest(outcome)
    : nextStep({ outcome, attemptNumber: number, retryScheduleMs, random: random(), nowMs: clock.now() });
  return record(deps, delivery, { attempt: made.attempt, decision, traceParent: span?.traceParent });
}

/** `traceParent`: the position of the attempt's span. */
type CompletedAttempt = {
  readonly attempt: NewAttempt;
  readonly decision: NextStep;
  readonly traceParent: string | undefined;
};

async function record(
  deps: HandlerDeps,
  delivery: DeliveryEnvelope,
  { attempt, decision, traceParent }: CompletedAttempt,
): Promise<Disposition> {
  const { results, delayedNaks, circuits } = deps;
  const now = performance.now();
  const dueAt = decision.kind === 'retry' ? now + decision.delayMs : undefined;
  // A probe's message must not be redelivered: the retry would be a probe as well.
  const staysEnqueued = dueAt !== undefined && !delivery.isProbe && delayedNaks.reserve(dueAt, now);
  await results.write({
    attempt,
    status: dueAt !== undefined ? 'PENDING' : attempt.status,
    dueAt: dueAt ?? null,
    waitingFor: decision.kind === 'retry' ? decision.waitingFor : null,
    staysEnqueued,
  });
  if (decision.kind === 'gone') await circuits.deactivateGone(attempt.subscriptionId, attempt.url);
  logAttempt(deps, { attempt, decision, traceParent });
  return dueAt !== undefined && staysEnqueued ? { kind: 'nakUntil', dueAt } : ACK;
}
