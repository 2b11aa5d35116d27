import { groupBy } from '../../src/lib/collections.ts';
import type { LoggedAttempt } from './delivery-log.ts';
import type { SeenRequest } from './endpoint.ts';

export type MatchedRequest = {
  readonly request: SeenRequest;
  /** Its line in the delivery log; undefined: there is none. */
  readonly attempt: LoggedAttempt | undefined;
};

export type Matches = {
  /** Every request that was seen, those of a delivery in the order in which they came. */
  readonly byDelivery: ReadonlyMap<string, readonly MatchedRequest[]>;
  /** Attempts in the log that no receiver saw. */
  readonly unseen: readonly LoggedAttempt[];
};

/** A request is seen after it was begun. The log has Postgres's time, as each sender measured it: to within half of a round trip. */
const EARLY_MS = 100;
/** A receiver with much to do reads a request late, also one that has been given up. */
const LATE_MS = 2_000;

/** Finds the line in the delivery log of each request: by delivery and number, and if there are several by their times. */
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
  // Those that heard an answer first: the attempt of a sender that stood still spans those of who took over.
  const inOrder = attempts.toSorted(
    (a, b) => Number(a.statusCode === null) - Number(b.statusCode === null) || a.startedAt - b.startedAt,
  );
  for (const attempt of inOrder) {
    const possible = [...free].filter((request) => isWithin(request, attempt));
    // One that was cut off is sent again within its attempt: then the answer tells which it is.
    const request = possible.find(({ answer }) => answer?.status === attempt.statusCode) ?? possible[0];
    if (request === undefined) left.push(attempt);
    else {
      free.delete(request);
      matched.set(request, attempt);
    }
  }
  return { matched: requests.map((request) => ({ request, attempt: matched.get(request) })), left };
}

function isWithin({ at }: SeenRequest, { startedAt, endedAt }: LoggedAttempt): boolean {
  return at >= startedAt - EARLY_MS && at <= endedAt + LATE_MS;
}
