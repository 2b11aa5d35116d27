import type { DeliveryLog, LoggedAttempt, StoredDelivery } from './delivery-log.ts';
import type { Incident } from './disturber.ts';
import type { SeenRequest } from './endpoint.ts';
import { Explanations } from './explanations.ts';
import type { Delay } from './loop-delays.ts';
import { type MatchedRequest, matchAttempts } from './match-attempts.ts';
import {
  type AcknowledgedEvent,
  type ExpectedDelivery,
  expectedDeliveriesOf,
  isPublishedOverGraphql,
} from './traffic.ts';

export type Evidence = DeliveryLog & {
  readonly acknowledged: readonly AcknowledgedEvent[];
  /** Ids of the events that EVENTS holds at the end. It keeps an event for days, also after it was dispatched. */
  readonly stored: ReadonlySet<string>;
  readonly requests: readonly SeenRequest[];
  readonly incidents: readonly Incident[];
  /** URLs of the endpoints, in order. */
  readonly urls: readonly string[];
  /** Processes that exited without a kill. */
  readonly endedByThemselves: readonly string[];
  /** How many times longer publishing took than planned, at least 1. Tolerances grow with it. */
  readonly slowness: number;
  /** Periods in which the receivers read no requests. */
  readonly delays: readonly Delay[];
};

/** A violation. `about` names a delivery, an event for an endpoint, or a process. */
type Problem = { readonly what: string; readonly about: string };

export type Judgement = {
  readonly expected: number;
  /** Deliveries of acknowledged events that did not arrive and are not pending. */
  readonly lost: number;
  /** Deliveries of acknowledged events that were still pending at the time limit. */
  readonly late: number;
  /** Requests that are not in the log because their sender was killed. */
  readonly cutByKill: number;
  /** Requests that are not in the log because the receiver closed the connection. The sender repeats them. */
  readonly cutByReceiver: number;
  /** Explained attempts that no receiver saw. */
  readonly unseen: number;
  /** Requests that repeat an attempt number, or follow a 2xx of the same delivery. */
  readonly duplicates: number;
  /** Number of duplicate requests by cause. */
  readonly duplicatesBy: Readonly<Record<string, number>>;
  /** Successes that reached the sender too late and therefore count as failures. */
  readonly receivedTooLate: number;
  /** Maximum number of sent but unrecorded requests at a kill or pause of a sender or of nats-server. */
  readonly mostInFlight: number;
  readonly pendingWithReason: number;
  readonly problems: readonly Problem[];
};

/** Finds lost events, and duplicate and unexplained requests. A pure function of the evidence. */
export function judge(evidence: Evidence): Judgement {
  const explanations = new Explanations(evidence);
  const { byDelivery, unseen } = matchAttempts(evidence.requests, evidence.attempts);
  const all = [...byDelivery.values()].flat();
  const missing = findMissing(evidence);
  const unrecorded = all
    .filter(({ attempt }) => attempt === undefined)
    .map((one) => ({ ...one, why: explanations.whyUnrecorded(one) }));
  const duplicates = [...byDelivery.values()].flatMap((ofOne) => findDuplicates(ofOne, explanations));
  const otherOutcomes = all.filter(hasOtherOutcome);
  const unseenWhy = whyUnseen(unseen, { evidence, explanations });
  const pending = evidence.deliveries.filter(({ status }) => status === 'PENDING');
  const late = missing.filter(({ isPending }) => isPending);
  return {
    expected: evidence.acknowledged.flatMap(expectedDeliveriesOf).length,
    lost: missing.length - late.length,
    late: late.length,
    cutByKill: unrecorded.filter(({ why }) => why === 'kill').length,
    cutByReceiver: unrecorded.filter(({ why }) => why === 'cut').length,
    unseen: unseenWhy.filter(({ why }) => why !== undefined).length,
    duplicates: duplicates.length,
    duplicatesBy: countBy(duplicates.map(({ why }) => why ?? 'unexplained')),
    receivedTooLate: otherOutcomes.length,
    mostInFlight: mostInFlight(all, { evidence, explanations }),
    pendingWithReason: pending.filter(({ reason }) => reason !== null).length,
    problems: [
      ...problems(
        'an acknowledged event was lost',
        missing.filter(({ isPending, isStored }) => !isPending && isStored),
      ),
      ...problems(
        'nats-server lost an event that it had acknowledged',
        missing.filter(({ isPending, isStored }) => !isPending && !isStored),
      ),
      ...problems('an acknowledged event did not arrive in time', late),
      ...problems(
        'a request is not in the log',
        unexplained(unrecorded).map(({ request }) => aboutDelivery(request)),
      ),
      ...problems('no receiver saw an attempt that is in the log', unexplained(unseenWhy).map(aboutDelivery)),
      ...problems('a duplicate request has no explanation', unexplained(duplicates).map(aboutDelivery)),
      ...problems(
        'log and receiver differ on the outcome of an attempt',
        otherOutcomes
          .filter((one) => explanations.whyOtherOutcome(one) === undefined)
          .map(({ request }) => aboutDelivery(request)),
      ),
      ...problems(
        'an event has two deliveries to one endpoint',
        findDoubleDeliveries(evidence.deliveries).map(aboutStored),
      ),
      ...problems(
        'a delivery is pending without a reason',
        pending.filter(({ reason }) => reason === null).map(aboutStored),
      ),
      ...problems('the attempt count of a delivery is wrong', findMiscounted(evidence).map(aboutStored)),
      ...problems(
        'a process exited without a kill',
        evidence.endedByThemselves.map((about) => ({ about })),
      ),
    ],
  };
}

function problems(what: string, those: readonly { readonly about: string }[]): Problem[] {
  return those.map(({ about }) => ({ what, about }));
}

function unexplained<T extends { readonly why: string | undefined }>(those: readonly T[]): T[] {
  return those.filter(({ why }) => why === undefined);
}

function aboutDelivery({ deliveryId }: { readonly deliveryId: string }) {
  return { about: deliveryId };
}

function aboutStored({ id }: StoredDelivery) {
  return { about: id };
}

function findMissing({ acknowledged, stored, requests, deliveries, urls }: Evidence) {
  const succeeded = new Set(requests.filter(({ answer }) => answer?.status === 200).map(keyOf));
  const missing = acknowledged.flatMap(expectedDeliveriesOf).filter((one) => !succeeded.has(keyOf(one)));
  const byEndpoint = new Map(
    missing.length === 0 ? [] : deliveries.map((one) => [`${one.endpointUrl} ${one.eventId}`, one]),
  );
  const recorded = new Set(deliveries.map(({ eventId }) => eventId));
  const isKnown = (id: string) => recorded.has(id) || stored.has(id);
  const gone = new Set(
    acknowledged.flatMap(({ id, number }) => (isPublishedOverGraphql(number) || isKnown(id) ? [] : [id])),
  );
  return missing.map((one) => {
    const delivery = byEndpoint.get(`${urls[one.endpoint] ?? ''} ${one.eventId}`);
    return {
      about: delivery?.id ?? keyOf(one),
      isPending: delivery?.status === 'PENDING',
      isStored: !gone.has(one.eventId),
    };
  });
}

function keyOf({ eventId, endpoint }: ExpectedDelivery): string {
  return `endpoint-${endpoint} ${eventId}`;
}

type Duplicate = { readonly deliveryId: string; readonly why: string | undefined };

/**
 * Finds the duplicates among the requests of one delivery, given in order of time. A request that its receiver cut off
 * is repeated within its attempt; the repetition is not a duplicate.
 */
function findDuplicates(requests: readonly MatchedRequest[], explanations: Explanations): Duplicate[] {
  return requests.flatMap((again, index) => {
    const before = requests.slice(0, index).findLast((one) => isDuplicatedBy(one, again) && !explanations.isCut(one));
    if (before === undefined) return [];
    const incident = explanations.duplicateCause(before, again);
    // A sender that did not receive the success repeats the attempt.
    const lateOutcome = hasOtherOutcome(before) ? explanations.whyOtherOutcome(before) : undefined;
    const why = incident === undefined ? lateOutcome : `${incident.kind} ${incident.target}`;
    return [{ deliveryId: again.request.deliveryId, why }];
  });
}

function isDuplicatedBy({ request: before }: MatchedRequest, { request: again }: MatchedRequest): boolean {
  const hasSucceeded = before.answer?.status === 200 && before.answer.at <= again.at;
  return before.attemptNumber === again.attemptNumber || hasSucceeded;
}

/** Whether log and receiver differ on the success of an attempt. */
function hasOtherOutcome({ request: { answer }, attempt }: MatchedRequest): boolean {
  return attempt !== undefined && (attempt.failureReason === null) !== (answer?.status === 200);
}

type Context = { readonly evidence: Evidence; readonly explanations: Explanations };

function whyUnseen(unseen: readonly LoggedAttempt[], { evidence: { deliveries, urls }, explanations }: Context) {
  const urlOf = new Map(unseen.length === 0 ? [] : deliveries.map(({ id, endpointUrl }) => [id, endpointUrl]));
  return unseen.map((attempt) => {
    const endpoint = `endpoint-${urls.indexOf(urlOf.get(attempt.deliveryId) ?? '')}`;
    return { ...attempt, why: explanations.whyUnseen(attempt, endpoint) };
  });
}

function findDoubleDeliveries(deliveries: readonly StoredDelivery[]): StoredDelivery[] {
  const seen = new Set<string>();
  return deliveries.filter(({ eventId, endpointUrl }) => {
    const key = `${endpointUrl} ${eventId}`;
    const isSecond = seen.has(key);
    seen.add(key);
    return isSecond;
  });
}

function findMiscounted({ deliveries, attempts }: Evidence): StoredDelivery[] {
  const highest = new Map<string, number>();
  for (const { deliveryId, attemptNumber } of attempts) {
    highest.set(deliveryId, Math.max(attemptNumber, highest.get(deliveryId) ?? 0));
  }
  return deliveries.filter(({ id, attemptCount }) => attemptCount !== (highest.get(id) ?? 0));
}

/** Maximum number of requests in flight at a kill or pause, based on the known times of their records. */
function mostInFlight(all: readonly MatchedRequest[], { evidence, explanations }: Context): number {
  const moments = evidence.incidents
    .filter(({ kind, target }) => ['kill', 'pause'].includes(kind) && /^(sender|nats)/.test(target))
    .map(({ from }) => from);
  const spans = all.map((one) => ({
    from: one.request.at,
    to: one.attempt?.recordedAt ?? explanations.killOf(one)?.from ?? one.request.connection.endedAt ?? Infinity,
  }));
  return Math.max(0, ...moments.map((at) => spans.filter(({ from, to }) => from <= at && at <= to).length));
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
