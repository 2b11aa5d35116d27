import { describe, expect, it } from 'vitest';
import type { LoggedAttempt, StoredDelivery } from '../crash-test/delivery-log.ts';
import type { Incident } from '../crash-test/disturber.ts';
import type { SeenRequest } from '../crash-test/endpoint.ts';
import { type Evidence, judge } from '../crash-test/judge.ts';

/** Only this endpoint and endpoint 17 select the type of event 20. */
const ENDPOINT = 4;
const EVENT = { id: 'event', number: 20 };
const DELIVERY = 'delivery';
const URLS = Array.from({ length: 20 }, (_, index) => `http://endpoint-${index}`);
/** All other times are in milliseconds after this time. */
const BEGIN = 1_000_000;

function request(at: number, changes: Partial<SeenRequest> = {}): SeenRequest {
  return {
    endpoint: ENDPOINT,
    eventId: EVENT.id,
    deliveryId: DELIVERY,
    attemptNumber: 1,
    at: BEGIN + at,
    answer: { status: 200, at: BEGIN + at + 10 },
    connection: { isCutByReceiver: false },
    ...changes,
  };
}

function attempt(startedAt: number, changes: Partial<LoggedAttempt> = {}): LoggedAttempt {
  const times = { startedAt: BEGIN + startedAt, endedAt: BEGIN + startedAt + 20, recordedAt: BEGIN + startedAt + 30 };
  return {
    deliveryId: DELIVERY,
    attemptNumber: 1,
    failureReason: null,
    statusCode: 200,
    errorMessage: null,
    ...times,
    ...changes,
  };
}

function delivery(changes: Partial<StoredDelivery> = {}): StoredDelivery {
  const endpointUrl = URLS[ENDPOINT] ?? '';
  return {
    id: DELIVERY,
    eventId: EVENT.id,
    endpointUrl,
    status: 'SUCCESS',
    attemptCount: 1,
    reason: null,
    ...changes,
  };
}

function incident(kind: Incident['kind'], target: string, [from, to]: readonly [number, number]): Incident {
  return { kind, target, from: BEGIN + from, to: BEGIN + to };
}

/** Judges the evidence for ENDPOINT; at the other endpoint that selects the event, its delivery succeeds. */
function judged(evidence: Partial<Evidence>) {
  const other = { deliveryId: 'other', endpoint: 17 };
  const judgement = judge({
    acknowledged: [EVENT],
    stored: new Set([EVENT.id]),
    incidents: [],
    urls: URLS,
    endedByThemselves: [],
    slowness: 1,
    delays: [],
    ...evidence,
    requests: [...(evidence.requests ?? [request(5)]), request(5, other)],
    attempts: [...(evidence.attempts ?? [attempt(0)]), attempt(0, other)],
    deliveries: [...(evidence.deliveries ?? [delivery()]), delivery({ id: 'other', endpointUrl: URLS[17] ?? '' })],
  });
  return { ...judgement, problems: judgement.problems.map(({ what }) => what) };
}

const CUT_OFF = { connection: { isCutByReceiver: false, endedAt: BEGIN + 1_005 } };
const TWICE = { requests: [request(5, CUT_OFF), request(60_000)], attempts: [attempt(59_995)] };

describe('the crash test', () => {
  it('finds no problem when every request is in the log', () => {
    expect(judged({})).toMatchObject({ expected: 2, lost: 0, late: 0, duplicates: 0, problems: [] });
  });

  it('finds an acknowledged event that did not arrive', () => {
    const never = { requests: [], attempts: [], deliveries: [] };
    expect(judged(never)).toMatchObject({ lost: 1, late: 0, problems: ['an acknowledged event was lost'] });
    const failed = { ...never, deliveries: [delivery({ status: 'FAILURE', attemptCount: 0 })] };
    expect(judged(failed)).toMatchObject({ lost: 1, problems: ['an acknowledged event was lost'] });
  });

  it('distinguishes an event that nats-server lost from one that the engine lost', () => {
    const judgedWith = (stored: readonly string[]) =>
      judge({
        acknowledged: [{ id: 'over JetStream', number: 37 }],
        stored: new Set(stored),
        incidents: [],
        urls: URLS,
        endedByThemselves: [],
        slowness: 1,
        delays: [],
        requests: [],
        attempts: [],
        deliveries: [],
      }).problems.map(({ what }) => what);
    expect(judgedWith(['over JetStream'])).toEqual(['an acknowledged event was lost']);
    expect(judgedWith([])).toEqual(['nats-server lost an event that it had acknowledged']);
  });

  it('distinguishes pending deliveries with and without a reason', () => {
    const pending = (reason: string | null) =>
      judged({ requests: [], attempts: [], deliveries: [delivery({ status: 'PENDING', attemptCount: 0, reason })] });
    const late = 'an acknowledged event did not arrive in time';
    expect(pending('circuit')).toMatchObject({ late: 1, pendingWithReason: 1, problems: [late] });
    expect(pending(null).problems).toEqual([late, 'a delivery is pending without a reason']);
  });

  it('finds a request that is not in the log, unless its sender was killed before it could record it', () => {
    const kill = (at: number) => [incident('kill', 'sender-1', [at, at + 100])];
    expect(judged({ ...TWICE, incidents: kill(1_000) })).toMatchObject({ cutByKill: 1, duplicates: 1, problems: [] });
    const both = ['a request is not in the log', 'a duplicate request has no explanation'];
    expect(judged(TWICE).problems).toEqual(both);
    // The connection ends 30 s after the answer.
    const late = { ...CUT_OFF.connection, endedAt: BEGIN + 30_000 };
    const lateRequests = [request(5, { connection: late }), request(60_000)];
    expect(judged({ ...TWICE, requests: lateRequests, incidents: kill(30_000) }).problems).toEqual(both);
    // Postgres was unavailable in between.
    const unavailable = [...kill(30_000), incident('kill', 'postgres', [1_000, 3_000])];
    expect(judged({ ...TWICE, requests: lateRequests, incidents: unavailable }).problems).toEqual([]);
  });

  it('tolerates later reading on a machine that is slower than planned', () => {
    const readAt = (atMs: number, slowness: number) => {
      const connection = { isCutByReceiver: false, endedAt: BEGIN + atMs + 400 };
      const requests = [request(atMs, { connection }), request(60_000)];
      return judged({ ...TWICE, requests, slowness, incidents: [incident('kill', 'sender-1', [1_000, 1_100])] });
    };
    expect(readAt(2_000, 1)).toMatchObject({ cutByKill: 1, problems: [] });
    expect(readAt(5_000, 1)).toMatchObject({ cutByKill: 0, problems: [expect.anything(), expect.anything()] });
    expect(readAt(5_000, 3)).toMatchObject({ cutByKill: 1, problems: [] });
  });

  it('does not count the time in which the receivers read no requests', () => {
    const killed = { ...TWICE, incidents: [incident('kill', 'sender-1', [1_000, 1_100])] };
    const connection = { isCutByReceiver: false, endedAt: BEGIN + 10_500 };
    const readLate = { ...killed, requests: [request(9_500, { connection }), request(60_000)] };
    const delays = [
      { from: BEGIN + 500, to: BEGIN + 5_000 },
      { from: BEGIN + 5_100, to: BEGIN + 9_400 },
    ];
    expect(judged({ ...readLate, delays })).toMatchObject({ cutByKill: 1, problems: [] });
    expect(judged({ ...readLate, delays: delays.slice(1) })).toMatchObject({ cutByKill: 0 });
    expect(judged({ ...readLate, delays: [{ from: BEGIN, to: BEGIN + 1_000 }] })).toMatchObject({ cutByKill: 0 });
  });

  it('does not attribute a request to the kill of a process whose connection stayed open', () => {
    const open = { connection: { isCutByReceiver: false, endedAt: BEGIN + 20_000 } };
    const incidents = [incident('kill', 'sender-1', [1_000, 2_000])];
    const requests = [request(5, open), request(60_000)];
    expect(judged({ ...TWICE, requests, incidents }).problems).toHaveLength(2);
  });

  it('finds a request after a recorded success, unless a paused sender made one of them', () => {
    const twice = {
      requests: [request(5), request(60_000, { attemptNumber: 2 })],
      attempts: [attempt(0), attempt(59_995, { attemptNumber: 2 })],
      deliveries: [delivery({ attemptCount: 2 })],
    };
    expect(judged(twice)).toMatchObject({ duplicates: 1, problems: ['a duplicate request has no explanation'] });
    const killed = [incident('kill', 'sender-1', [1_000, 2_000]), incident('kill', 'nats-server', [1_000, 2_000])];
    expect(judged({ ...twice, incidents: killed }).problems).toEqual(['a duplicate request has no explanation']);
    const paused = [incident('pause', 'sender-1', [1, 59_990])];
    expect(judged({ ...twice, incidents: paused })).toMatchObject({
      duplicatesBy: { 'pause sender-1': 1 },
      problems: [],
    });
  });

  it('finds two concurrent requests, unless nats-server may have lost the state of the message', () => {
    const twice = { requests: [request(5), request(15)], attempts: [attempt(0), attempt(12)] };
    expect(judged(twice).problems).toEqual(['a duplicate request has no explanation']);
    const incidents = [incident('kill', 'nats-server', [7, 12])];
    expect(judged({ ...twice, incidents })).toMatchObject({ duplicatesBy: { 'kill nats-server': 1 }, problems: [] });
  });

  it('counts a request that the receiver cut off and its replacement as one', () => {
    const cut = { connection: { isCutByReceiver: true, endedAt: BEGIN + 10 } };
    const unanswered = request(5, cut);
    delete unanswered.answer;
    const requests = [unanswered, request(15)];
    expect(judged({ requests })).toMatchObject({ cutByReceiver: 1, duplicates: 0, problems: [] });
  });

  it('finds an attempt that no receiver saw, unless the endpoint refused connections', () => {
    const refused = attempt(0, { failureReason: 'CONNECTION_REFUSED', statusCode: null });
    const evidence = {
      requests: [request(1_005, { attemptNumber: 2 })],
      attempts: [refused, attempt(1_000, { attemptNumber: 2 })],
      deliveries: [delivery({ attemptCount: 2 })],
    };
    expect(judged(evidence).problems).toEqual(['no receiver saw an attempt that is in the log']);
    const refusing = (times: [number, number]) => [incident('refuse', `endpoint-${ENDPOINT}`, times)];
    expect(judged({ ...evidence, incidents: refusing([-100, 100]) })).toMatchObject({ unseen: 1, problems: [] });
    // The clocks of the processes differ.
    expect(judged({ ...evidence, incidents: refusing([1_900, 2_100]) })).toMatchObject({ unseen: 1, problems: [] });
    expect(judged({ ...evidence, incidents: refusing([2_200, 2_400]) }).problems).toHaveLength(1);
  });

  it('matches the attempt that timed out to a request that its overloaded receiver read half a minute later', () => {
    const unanswered = attempt(0, { failureReason: 'TIMEOUT', statusCode: null, endedAt: BEGIN + 3_000 });
    const evidence = {
      requests: [request(30_000), request(31_000, { attemptNumber: 2 })],
      attempts: [unanswered, attempt(30_995, { attemptNumber: 2 })],
      deliveries: [delivery({ attemptCount: 2 })],
    };
    expect(judged(evidence)).toMatchObject({ unseen: 0, receivedTooLate: 1, problems: [] });
    const later = [request(70_000), request(71_000, { attemptNumber: 2 })];
    expect(judged({ ...evidence, requests: later }).problems).not.toEqual([]);
  });

  it('does not match the request of the next sender to the attempt of a sender that paused before its request', () => {
    const stalled = attempt(0, { failureReason: 'TIMEOUT', statusCode: null, endedAt: BEGIN + 70_000 });
    const evidence = { requests: [request(61_005)], attempts: [stalled, attempt(61_000)] };
    const incidents = [incident('pause', 'sender-1', [1, 69_990])];
    expect(judged({ ...evidence, incidents })).toMatchObject({ unseen: 1, duplicates: 0, problems: [] });
  });

  it('finds an outcome in the log that differs from the answer of the endpoint', () => {
    const failed = { answer: { status: 500, at: BEGIN + 10 } };
    const second = { requests: [request(5, failed), request(50, { attemptNumber: 2 })] };
    const attempts = [attempt(0), attempt(45, { attemptNumber: 2 })];
    expect(judged({ ...second, attempts, deliveries: [delivery({ attemptCount: 2 })] }).problems).toEqual([
      'log and receiver differ on the outcome of an attempt',
    ]);
  });

  it('finds an event that has two deliveries to one endpoint, and a delivery with a wrong attempt count', () => {
    const twin = delivery({ id: 'twin', attemptCount: 0 });
    expect(judged({ deliveries: [delivery(), twin] }).problems).toEqual([
      'an event has two deliveries to one endpoint',
    ]);
    expect(judged({ deliveries: [delivery({ attemptCount: 2 })] }).problems).toEqual([
      'the attempt count of a delivery is wrong',
    ]);
  });

  it('finds a process that exited without a kill', () => {
    expect(judged({ endedByThemselves: ['api'] }).problems).toEqual(['a process exited without a kill']);
  });
});
