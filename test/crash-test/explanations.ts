import type { LoggedAttempt } from './delivery-log.ts';
import type { Incident } from './disturber.ts';
import type { MatchedRequest } from './match-attempts.ts';

/** Maximum time from an answer to the record of its attempt, unless Postgres or a sender stalls. */
const RECORDED_WITHIN_MS = 3_000;
/** Maximum time from the recovery of Postgres to its next use: waiting processes retry at their own intervals. */
const POSTGRES_SLACK_MS = 15_000;
/** Maximum time from the end of a pause until the process continues its attempts. */
const RESUMED_WITHIN_MS = 5_000;
/**
 * Maximum time from the restart of a killed process until the other ends of its connections have read its last bytes and
 * their end. The time of the restart is included, because it grows with the load of the machine, as theirs does.
 */
const DETECTED_WITHIN_MS = 1_500;
/**
 * Tolerance for comparing the time of a request, an answer or an attempt with that of a cut or pause: on an overloaded machine,
 * senders estimate Postgres's clock to within a second.
 */
const CUT_WITHIN_MS = 2_000;
/** Maximum age of an unread answer when a timeout fires: on an overloaded machine, processes read late. */
const READ_WITHIN_MS = 2_000;

/** Servers whose failure can cause a redelivery by JetStream, or prevent the recording of an outcome. */
const SERVER = /^(nats-|postgres$)/;
const NO_CONNECTION = /^no connection /;
const NEVER_ARRIVED: ReadonlySet<string> = new Set(['CONNECTION_REFUSED', 'CONNECTION_RESET']);

/** Finds the incident that caused a difference; undefined if there is none. */
export class Explanations {
  readonly #incidents: readonly Incident[];
  readonly #kills: readonly Incident[];
  readonly #pauses: readonly Incident[];

  constructor(incidents: readonly Incident[]) {
    this.#incidents = incidents;
    const ofSenders = incidents.filter(isOfSender);
    this.#kills = ofSenders.filter(({ kind }) => kind === 'kill');
    this.#pauses = ofSenders.filter(({ kind }) => kind === 'pause');
  }

  /** The kill of a sender that prevented the recording of this request. The connection ended with the process. */
  killOf({ request, attempt }: MatchedRequest): Incident | undefined {
    if (attempt !== undefined) return undefined;
    const { at, answer, connection } = request;
    return this.#kills.find((kill) => {
      const detectedBy = kill.to + DETECTED_WITHIN_MS;
      if (connection.endedAt === undefined || connection.endedAt > detectedBy || at > detectedBy) return false;
      const since = answer?.at ?? (connection.isCutByReceiver ? connection.endedAt : undefined) ?? kill.from;
      return kill.from - since <= RECORDED_WITHIN_MS || this.#stalledBetween(since, kill.from);
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
    const isDuring = ({ from, to }: Incident) => from - CUT_WITHIN_MS <= endedAt && to + CUT_WITHIN_MS >= startedAt;
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
      if (answer.at >= attempt.endedAt - READ_WITHIN_MS) return 'the answer came too late';
      return this.#pauses.some(({ from, to }) => from <= attempt.endedAt && to >= attempt.startedAt)
        ? 'the sender was paused'
        : undefined;
    }
    const isCut = connection.isCutByReceiver && (connection.endedAt ?? 0) - answer.at <= CUT_WITHIN_MS;
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
      before.request.at <= from + CUT_WITHIN_MS &&
      (before.attempt === undefined || this.committedBy(before.attempt) >= from);
    const isFromAfter = again.request.at >= to - CUT_WITHIN_MS && before.request.at >= from - RECORDED_WITHIN_MS;
    return (isFromBefore || isFromAfter) && again.request.at >= from && again.request.at <= to + RESUMED_WITHIN_MS;
  }

  /** Latest time at which an attempt was committed to the log. */
  committedBy({ recordedAt }: LoggedAttempt): number {
    let latest = recordedAt + RECORDED_WITHIN_MS;
    for (const { target, from, to } of this.#incidents) {
      const isInBetween = target === 'postgres' && from <= latest && to + POSTGRES_SLACK_MS >= recordedAt;
      if (isInBetween) latest = Math.max(latest, to + POSTGRES_SLACK_MS);
    }
    return latest;
  }

  #stalledBetween(since: number, until: number): boolean {
    return [...this.#incidents.filter(({ target }) => target === 'postgres'), ...this.#pauses].some(
      ({ from, to }) => from <= until && to + POSTGRES_SLACK_MS >= since,
    );
  }
}

function isOfSender({ target }: Incident): boolean {
  return target.startsWith('sender');
}
