import { groupBy } from '../../src/lib/collections.ts';
import type { LoggedAttempt } from './delivery-log.ts';
import type { SeenRequest } from './endpoint.ts';

export type MatchedRequest = {
  readonly request: SeenRequest;
  /** Its line in the delivery log; undefined if there is none. */
  readonly attempt: LoggedAttempt | undefined;
};

export type Matches = {
  /** Every request by delivery, in order of arrival. */
  readonly byDelivery: ReadonlyMap<string, readonly MatchedRequest[]>;
  /** Attempts in the log that no receiver saw. */
  readonly unseen: readonly LoggedAttempt[];
};

/** Tolerance before the logged start: senders estimate Postgres's clock to within half of a round trip. */
const EARLY_MS = 100;
/**
 * Tolerances after the logged end: an overloaded receiver reads requests late, even after their timeout. The second one, for which
 * 21 s were seen on a machine with a load of 14 on two cores, is used only if no earlier request fits.
 */
const LATE_MS = 10_000;
const VERY_LATE_MS = 60_000;

/** Finds the line of each request in the delivery log: by delivery and number, and among several lines by time. */
export function matchAttempts(requests: readonly SeenRequest[], attempts: readonly LoggedAttempt[]): Matches {
  const unmatched = groupBy(attempts, keyOf);
  const byDelivery = new Map<string, MatchedRequest[]>();
  for (const sameAttempt of groupBy(requests, keyOf).values()) {
    const [first] = sameAttempt;
    if (first === undefined) continue;
    const key = keyOf(first);
    const { matched, left } = matchOne(sameAttempt, unmatched.get(key) ?? []);
    unmatched.set(key, left);
    byDelivery.set(first.deliveryId, [...(byDelivery.get(first.deliveryId) ?? []), ...matched]);
  }
  for (const matched of byDelivery.values()) matched.sort((a, b) => a.request.at - b.request.at);
  return { byDelivery, unseen: [...unmatched.values()].flat() };
}

function keyOf({ deliveryId, attemptNumber }: Pick<SeenRequest, 'deliveryId' | 'attemptNumber'>): string {
  return `${deliveryId} ${attemptNumber}`;
}

function matchOne(
  requests: readonly SeenRequest[],
  attempts: readonly LoggedAttempt[],
): { readonly matched: readonly MatchedRequest[]; readonly left: LoggedAttempt[] } {
  const free = new Set(requests);
  const matched = new Map<SeenRequest, LoggedAttempt>();
  const left: LoggedAttempt[] = [];
  // Attempts with an answer first: the attempt of a stalled sender spans the attempts of the sender that took over.
  const inOrder = attempts.toSorted(
    (a, b) => Number(a.statusCode === null) - Number(b.statusCode === null) || a.startedAt - b.startedAt,
  );
  for (const attempt of inOrder) {
    const within = (lateMs: number) => [...free].filter((request) => isWithin(request, attempt, lateMs));
    const beforeRecord = () => [...free].filter((request) => isBeforeRecord(request, attempt));
    const [possible = []] = [within(LATE_MS), beforeRecord(), within(VERY_LATE_MS)].filter(({ length }) => length > 0);
    // A request that was cut off is repeated within its attempt; the answer identifies the recorded request.
    const request = possible.find(({ answer }) => answer?.status === attempt.statusCode) ?? possible[0];
    if (request === undefined) left.push(attempt);
    else {
      free.delete(request);
      matched.set(request, attempt);
    }
  }
  return { matched: requests.map((request) => ({ request, attempt: matched.get(request) })), left };
}

/** The clock of an attempt stops while its process is paused: a request sent after a pause is later than the logged end. */
function isBeforeRecord({ at }: SeenRequest, { startedAt, recordedAt }: LoggedAttempt): boolean {
  return at >= startedAt - EARLY_MS && at <= recordedAt;
}

function isWithin({ at }: SeenRequest, { startedAt, endedAt }: LoggedAttempt, lateMs: number): boolean {
  return at >= startedAt - EARLY_MS && at <= endedAt + lateMs;
}
