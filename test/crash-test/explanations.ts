import type { LoggedAttempt } from './delivery-log.ts';
import type { Incident } from './disturber.ts';
import type { Evidence } from './judge.ts';
import { type Delay, delayedBetween } from './loop-delays.ts';
import type { MatchedRequest } from './match-attempts.ts';

/** Tolerances in milliseconds. On a machine that does not keep up with the publisher they are larger. */
function tolerances(slowness: number) {
  return {
    /** Maximum time from an answer to the record of its attempt, unless Postgres or a sender stalls. */
    recorded: 3_000 * slowness,
    /** Maximum time from the recovery of Postgres to its next use: waiting processes retry at their own intervals. */
    recovered: 15_000 * slowness,
    /** Maximum time from the end of a pause until the process continues its attempts. */
    resumed: 5_000 * slowness,
    /** Maximum time from a kill until the receivers detect it, without the delays of their event loop. */
    detected: 1_500 * slowness,
    /**
     * For comparing the time of a request, an answer or an attempt with that of a cut or pause: senders estimate Postgres's
     * clock to within a second.
     */
    compared: 2_000 * slowness,
    /** Maximum age of an unread answer when a timeout fires. */
    read: 2_000 * slowness,
  };
}

/** Servers whose failure can cause a redelivery by JetStream, or prevent the recording of an outcome. */
const SERVER = /^(nats-|postgres$)/;
const NO_CONNECTION = /^no connection /;
const NEVER_ARRIVED: ReadonlySet<string> = new Set(['CONNECTION_REFUSED', 'CONNECTION_RESET']);

/** Finds the incident that caused a difference; undefined if there is none. */
export class Explanations {
  readonly #incidents: readonly Incident[];
  readonly #kills: readonly Incident[];
  readonly #pauses: readonly Incident[];
  readonly #within: ReturnType<typeof tolerances>;
  readonly #delays: readonly Delay[];

  constructor({ incidents, slowness, delays }: Pick<Evidence, 'incidents' | 'slowness' | 'delays'>) {
    this.#incidents = incidents;
    this.#delays = delays;
    this.#within = tolerances(slowness);
    const ofSenders = incidents.filter(isOfSender);
    this.#kills = ofSenders.filter(({ kind }) => kind === 'kill');
    this.#pauses = ofSenders.filter(({ kind }) => kind === 'pause');
  }

  /** The kill of a sender that prevented the recording of this request. The connection ended with the process. */
  killOf({ request, attempt }: MatchedRequest): Incident | undefined {
    if (attempt !== undefined) return undefined;
    const { at, answer, connection } = request;
    return this.#kills.find((kill) => {
      const seenAt = Math.max(connection.endedAt ?? Number.POSITIVE_INFINITY, at);
      const delayedMs = delayedBetween(this.#delays, kill.from, seenAt);
      if (seenAt - delayedMs > kill.from + this.#within.detected) return false;
      const since = answer?.at ?? (connection.isCutByReceiver ? connection.endedAt : undefined) ?? kill.from;
      return kill.from - since <= this.#within.recorded || this.#stalledBetween(since, kill.from);
    });
  }

  /** The reason why a request is not in the log: a kill or its receiver interrupted it. */
  whyUnrecorded(matched: MatchedRequest): 'kill' | 'cut' | undefined {
    if (this.isCut(matched)) return 'cut';
    return this.killOf(matched) === undefined ? undefined : 'kill';
  }

  /** Whether the receiver closed the connection of an unrecorded request. The sender repeats it within its attempt. */
  isCut({ request, attempt }: MatchedRequest): boolean {
    return attempt === undefined && request.answer === undefined && request.connection.isCutByReceiver;
  }

  /** The reason why no receiver saw an attempt. */
  whyUnseen(attempt: LoggedAttempt, endpoint: string): string | undefined {
    const { failureReason, errorMessage, startedAt, endedAt } = attempt;
    const isDuring = ({ from, to }: Incident) =>
      from - this.#within.compared <= endedAt && to + this.#within.compared >= startedAt;
    const isRefused = this.#incidents.some(
      (incident) => incident.kind === 'refuse' && incident.target === endpoint && isDuring(incident),
    );
    if (isRefused && NEVER_ARRIVED.has(failureReason ?? '')) return 'the endpoint refused connections';
    if (failureReason === 'TIMEOUT' && NO_CONNECTION.test(errorMessage ?? '')) return 'no connection was made in time';
    return this.#pauses.some(isDuring) && failureReason === 'TIMEOUT' ? 'the sender was paused' : undefined;
  }

  /** The reason why log and receiver differ on the outcome. Only a success that arrived too late may be a failure. */
  whyOtherOutcome({ request, attempt }: MatchedRequest): string | undefined {
    if (attempt === undefined || request.answer === undefined || attempt.failureReason === null) return undefined;
    const { answer, connection } = request;
    if (attempt.failureReason === 'TIMEOUT') {
      if (answer.at >= attempt.endedAt - this.#within.read) return 'the answer came too late';
      return this.#pauses.some(({ from, to }) => from <= attempt.endedAt && to >= attempt.startedAt)
        ? 'the sender was paused'
        : undefined;
    }
    const isCut = connection.isCutByReceiver && (connection.endedAt ?? 0) - answer.at <= this.#within.compared;
    return isCut && attempt.failureReason === 'CONNECTION_RESET' ? 'the connection was cut' : undefined;
  }

  /** The incident that repeated an attempt number, or caused a request after a success. */
  duplicateCause(before: MatchedRequest, again: MatchedRequest): Incident | undefined {
    const cause = this.killOf(before) ?? this.#pauses.find((pause) => this.#isOfPaused(pause, before, again));
    if (cause !== undefined) return cause;
    // Before an attempt that may be a repetition, a sender checks Postgres. The other attempt was not committed yet.
    const knownAt = before.attempt === undefined ? before.request.at : this.committedBy(before.attempt);
    if (again.request.at > knownAt) return undefined;
    return this.#incidents.find(
      ({ target, from, to }) => SERVER.test(target) && from <= again.request.at && to >= before.request.at,
    );
  }

  /** Whether the paused process sent one of the requests: `before` ahead of the pause, or `again` after the pause. */
  #isOfPaused({ from, to }: Incident, before: MatchedRequest, again: MatchedRequest): boolean {
    const isFromBefore =
      before.request.at <= from + this.#within.compared &&
      (before.attempt === undefined || this.committedBy(before.attempt) >= from);
    const isFromAfter =
      again.request.at >= to - this.#within.compared && before.request.at >= from - this.#within.recorded;
    return (isFromBefore || isFromAfter) && again.request.at >= from && again.request.at <= to + this.#within.resumed;
  }

  /** Latest time at which an attempt was committed to the log. */
  committedBy({ recordedAt }: LoggedAttempt): number {
    let latest = recordedAt + this.#within.recorded;
    for (const { target, from, to } of this.#incidents) {
      const isInBetween = target === 'postgres' && from <= latest && to + this.#within.recovered >= recordedAt;
      if (isInBetween) latest = Math.max(latest, to + this.#within.recovered);
    }
    return latest;
  }

  #stalledBetween(since: number, until: number): boolean {
    return [...this.#incidents.filter(({ target }) => target === 'postgres'), ...this.#pauses].some(
      ({ from, to }) => from <= until && to + this.#within.recovered >= since,
    );
  }
}

function isOfSender({ target }: Incident): boolean {
  return target.startsWith('sender');
}
