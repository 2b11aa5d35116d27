import { MAX_PENDING_TESTS } from '../../events/test-event.ts';
import type { WaitReason } from '../../generated/prisma/enums.ts';
import type { JetStreamMessage } from '../../nats/connection.ts';
import { isTransient } from '../../postgres/errors.ts';
import type { SenderSubscription } from '../../subscriptions/cache.ts';
import type { DeliveryEnvelope, DeliveryMessage } from '../queue/message.ts';
import { SLOT_HORIZON_MS } from '../queue/rate-slots.ts';
import { LEASE_MARGIN_MS } from '../queue/store.ts';
import { makeAttempt, type NewAttempt } from './attempt.ts';
import { logAttempt } from './attempt-metrics.ts';
import type { LimiterEntry } from './limiter.ts';
import { MAX_SHORT_WAIT_MS } from './redelivery.ts';
import { type NextStep, nextStep, nextStepOfTest } from './retry-policy.ts';
import type { SenderDeps } from './sender.ts';

/** A delivery's message that has been taken and not been acknowledged. */
export type InFlightDelivery = {
  readonly message: JetStreamMessage;
  readonly delivery: DeliveryEnvelope;
  /** How many of the sender's it takes. */
  readonly permits: number;
};

type AttemptTask = InFlightDelivery & { readonly subscription: SenderSubscription; readonly number: number };

/** After an error of our surroundings (Postgres is away) a message is taken up again this much later. */
export const INFRA_RETRY_MS = 5_000;

/** Does with a delivery what can be done now, and deals with its message. Never rejects. */
export async function handleDelivery(parts: SenderDeps, held: InFlightDelivery): Promise<void> {
  const { message, delivery } = held;
  const { deliveryId, enqueueCount } = delivery;
  try {
    const turn = await tryAttempt(parts, held);
    if (turn === 'done') return;
    if (parts.stopTaking.aborted) message.nak();
    else if (turn === 'INACTIVE') {
      await parts.statements.cancel.add(deliveryId);
      message.ack();
    } else if (delivery.isTest) {
      // As many as there may be are being attempted. Parked, it would make real deliveries queue.
      parts.waits.nakUntil(message, performance.now() + INFRA_RETRY_MS);
    } else {
      await parts.parking.add({ deliveryId, enqueueCount, reason: turn });
      message.ack();
    }
  } catch (error) {
    if (isTransient(error)) {
      parts.log.error({ err: error, deliveryId }, 'a delivery could not be attempted; trying again');
      parts.waits.nakUntil(message, performance.now() + INFRA_RETRY_MS);
    } else {
      await postpone(parts, { ...held, error });
    }
  }
}

type Obstacle = WaitReason | 'INACTIVE';

/** Attempts the delivery when it is its turn: 'done', its message dealt with. Or says what stands in its way. */
async function tryAttempt(parts: SenderDeps, held: InFlightDelivery): Promise<'done' | Obstacle> {
  const { subscriptions, gates, turns, stopTaking } = parts;
  const { delivery } = held;
  const { subscriptionId, subscriptionVersion } = delivery;
  const subscription = await subscriptions.get(subscriptionId, subscriptionVersion);
  const obstacle = obstacleOf(delivery, subscription) ?? (await awaitRateLimit(parts, { ...held, subscription }));
  if (subscription === undefined || obstacle !== undefined) return obstacle ?? 'INACTIVE';
  const entrant = delivery.isTest ? testEntrant(held) : held;
  const maxInFlight = delivery.isTest ? MAX_PENDING_TESTS : subscription.maxInFlight;
  if (!(await gates.acquire(entrant, maxInFlight))) return 'IN_FLIGHT_LIMIT';
  try {
    await turns.waitForStart(delivery.tenant);
    // Much may have changed while it waited.
    const current = await subscriptions.get(subscriptionId, subscriptionVersion);
    const newObstacle = obstacleOf(delivery, current);
    if (current === undefined || newObstacle !== undefined) return newObstacle ?? 'INACTIVE';
    if (stopTaking.aborted) return 'IN_FLIGHT_LIMIT';
    await attemptIfDue(parts, { ...held, subscription: current });
    return 'done';
  } finally {
    gates.release(entrant);
  }
}

/** The tests of a tenant have a gate of their own: an endpoint that takes no more is what a test is to show. */
function testEntrant({ delivery, permits: places }: InFlightDelivery): LimiterEntry {
  const name = `tests of ${delivery.tenant}`;
  return { delivery: { subscriptionId: name, tenant: name }, permits: places };
}

function obstacleOf(
  { isProbe, isTest }: DeliveryMessage,
  subscription: SenderSubscription | undefined,
): 'INACTIVE' | 'CIRCUIT_OPEN' | undefined {
  if (subscription?.isActive !== true) return 'INACTIVE';
  return subscription.isOpen && !isProbe && !isTest ? 'CIRCUIT_OPEN' : undefined;
}

/** Waits for the moment that the subscription's rate limit leaves free, unless that is too far away. */
async function awaitRateLimit(
  { database, slots, gates, stopTaking }: SenderDeps,
  held: InFlightDelivery & { readonly subscription: SenderSubscription | undefined },
): Promise<'RATE_LIMITED' | undefined> {
  const { message, delivery, subscription } = held;
  if (subscription?.rateLimitPerSecond == null || delivery.isTest) return undefined;
  // A message that comes again, for a retry, has had its moment.
  const ownMoment = message.redelivered ? undefined : delivery.sendAt;
  const sendAt = ownMoment ?? (await slots.reserve(subscription.id));
  if (sendAt === undefined) return 'RATE_LIMITED';
  const waitMs = Math.min(SLOT_HORIZON_MS, sendAt - database.clock.now());
  return (await gates.waitForSlot(held, { waitMs, signal: stopTaking })) ? undefined : 'RATE_LIMITED';
}

async function attemptIfDue(
  parts: SenderDeps,
  task: InFlightDelivery & { readonly subscription: SenderSubscription },
): Promise<void> {
  const number = await attemptNumber(parts, task);
  if (number !== undefined) await attempt(parts, { ...task, number });
}

/** Nothing that trying again soon would mend, such as a secret that cannot be read: it must not hold up others. */
async function postpone(
  { statements, log, waits }: SenderDeps,
  { message, delivery: { deliveryId, isTest }, error }: InFlightDelivery & { error: unknown },
): Promise<void> {
  const next = isTest ? 'cancelling it, because it is a test' : 'trying again in ten minutes';
  log.error({ err: error, deliveryId }, `a delivery cannot be attempted; ${next}`);
  try {
    if (isTest) await statements.cancel.add(deliveryId);
    else await statements.postpone.add(deliveryId);
    message.ack();
  } catch {
    waits.nakUntil(message, performance.now() + INFRA_RETRY_MS);
  }
}

/** The number of the attempt to make now; undefined if none is, and the message has been dealt with. */
async function attemptNumber(
  parts: SenderDeps,
  { message, delivery, subscription }: InFlightDelivery & { readonly subscription: SenderSubscription },
): Promise<number | undefined> {
  const { mayBeDuplicate, enqueueCount, deliveryId, subscriptionVersion } = delivery;
  // Of a subscription that has changed since, it may have been cancelled: by a deactivation that was undone meanwhile.
  const isUnchanged = subscription.version === subscriptionVersion;
  const isFirst = !mayBeDuplicate && enqueueCount === 1 && isUnchanged && parts.bus.isFirstDelivery(message, delivery);
  if (isFirst && !parts.cancellations.has(deliveryId)) return 1;
  const leaseMs = subscription.timeoutMs + LEASE_MARGIN_MS;
  const lease = await parts.leases.add({ deliveryId, enqueueCount, leaseMs });
  switch (lease.kind) {
    case 'leased':
      return lease.attemptCount + 1;
    case 'over':
      message.ack();
      return undefined;
    case 'not yet':
      await waitUntil(parts, { message, deliveryId, dueAt: performance.now() + lease.waitMs });
      return undefined;
  }
}

/** A broker that crashed forgets delays: what comes too early waits again. */
async function waitUntil(
  { statements, waits }: SenderDeps,
  { message, deliveryId, dueAt }: { message: JetStreamMessage; deliveryId: string; dueAt: number },
): Promise<void> {
  if (dueAt - performance.now() <= MAX_SHORT_WAIT_MS) {
    waits.nakUntil(message, dueAt);
  } else {
    await statements.requeue.add(deliveryId);
    message.ack();
  }
}

async function attempt(parts: SenderDeps, task: AttemptTask): Promise<void> {
  const { database, agents, userAgent, retryScheduleMs, stopWorking: signal } = parts;
  const { delivery, subscription, number } = task;
  const data = delivery.data ?? (await parts.statements.loadData.add(delivery.deliveryId));
  if (data === undefined) throw new Error(`delivery ${delivery.deliveryId} has no event`);
  const { outcome, attempt } = await makeAttempt(agents, {
    delivery: { ...delivery, data },
    subscription,
    number,
    userAgent,
    signal,
    clock: database.clock,
  });
  if (signal.aborted && outcome.kind === 'failure') {
    // Given up by us: that says nothing about the receiver.
    task.message.nak();
    return;
  }
  const decision = delivery.isTest
    ? nextStepOfTest(outcome)
    : nextStep({
        ...{ outcome, attemptNumber: number, retryScheduleMs },
        random: Math.random(),
        nowMs: database.clock.now(),
      });
  await record(parts, { ...task, attempt, decision });
}

async function record(
  parts: SenderDeps,
  { message, delivery, attempt, decision }: InFlightDelivery & { attempt: NewAttempt; decision: NextStep },
): Promise<void> {
  const { results, waits, circuits } = parts;
  const now = performance.now();
  const dueAt = decision.kind === 'retry' ? now + decision.delayMs : undefined;
  // A probe is one request: with its message, the retry would be a probe as well.
  const staysEnqueued = dueAt !== undefined && !delivery.isProbe && waits.reserve(dueAt, now);
  await results.write({
    attempt,
    status: dueAt !== undefined ? 'PENDING' : attempt.status,
    dueAt: dueAt ?? null,
    waitingFor: decision.kind === 'retry' ? decision.waitingFor : null,
    staysEnqueued,
  });
  if (decision.kind === 'gone') await circuits.deactivateGone(attempt.subscriptionId);
  if (dueAt !== undefined && staysEnqueued) waits.nakUntil(message, dueAt);
  else message.ack();
  logAttempt(parts, { attempt, decision });
}
