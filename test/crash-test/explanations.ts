import type { LoggedAttempt } from './delivery-log.ts';
import type { Happening } from './disturber.ts';
import type { MatchedRequest } from './match-attempts.ts';

/** An attempt is recorded within this time of its answer, unless something stands still. */
const RECORDED_WITHIN_MS = 3_000;
/** Postgres is used again this much after it is back: what waited for it has its own time limits. */
const POSTGRES_SLACK_MS = 15_000;
/** A process that was paused gets on with what it had begun within this time. */
const RESUMED_WITHIN_MS = 5_000;
/** A kill is noticed at the other ends of its connections within this time. */
const NOTICED_WITHIN_MS = 1_500;
const CUT_WITHIN_MS = 500;
/** On a machine with much to do, a process whose time-out fires may not have read yet what has come. */
const HEARD_WITHIN_MS = 2_000;

/** What can have JetStream deliver a message again, or keep an outcome from being recorded. */
const SERVERS: ReadonlySet<string> = new Set(['nats-server', 'postgres']);
const NO_CONNECTION = /^no connection /;
const NEVER_ARRIVED: ReadonlySet<string> = new Set(['CONNECTION_REFUSED', 'CONNECTION_RESET']);

/** Says of what looks wrong which happening has caused it; undefined if none has. */
export class Explanations {
  readonly #happenings: readonly Happening[];
  readonly #kills: readonly Happening[];
  readonly #pauses: readonly Happening[];

  constructor(happenings: readonly Happening[]) {
    this.#happenings = happenings;
    const ofSenders = happenings.filter(isOfSender);
    this.#kills = ofSenders.filter(({ kind }) => kind === 'kill');
    this.#pauses = ofSenders.filter(({ kind }) => kind === 'pause');
  }

  /** The kill of a sender that kept this request from being recorded. Its connection ended with the process. */
  killOf({ request, attempt }: MatchedRequest): Happening | undefined {
    if (attempt !== undefined) return undefined;
    const { at, answer, connection } = request;
    return this.#kills.find((kill) => {
      const hasEnded = connection.endedAt !== undefined && connection.endedAt <= kill.from + NOTICED_WITHIN_MS;
      if (!hasEnded || at > kill.from + NOTICED_WITHIN_MS) return false;
      const since = answer?.at ?? (connection.isCutByReceiver ? connection.endedAt : undefined) ?? kill.from;
      return kill.from - since <= RECORDED_WITHIN_MS || this.#stoodStill(since, kill.from);
    });
  }

  /** Why a request is not in the log: a kill, or its receiver, cut it off. */
  whyUnrecorded(matched: MatchedRequest): 'kill' | 'cut' | undefined {
    if (this.isCut(matched)) return 'cut';
    return this.killOf(matched) === undefined ? undefined : 'kill';
  }

  /** Whether a request that was not recorded was cut off by its receiver: it is sent again within its attempt. */
  isCut({ request, attempt }: MatchedRequest): boolean {
    return attempt === undefined && request.answer === undefined && request.connection.isCutByReceiver;
  }

  /** Why a receiver has not seen an attempt. */
  whyUnseen(attempt: LoggedAttempt, endpoint: string): string | undefined {
    const { failureReason, errorMessage, startedAt, endedAt } = attempt;
    const isRefused = this.#happenings.some(
      ({ kind, target, from, to }) => kind === 'refuse' && target === endpoint && from <= endedAt && to >= startedAt,
    );
    if (isRefused && NEVER_ARRIVED.has(failureReason ?? '')) return 'the endpoint refused connections';
    if (failureReason === 'TIMEOUT' && NO_CONNECTION.test(errorMessage ?? '')) return 'no connection was made in time';
    const isPaused = this.#pauses.some(({ from, to }) => from <= endedAt && to >= startedAt);
    return isPaused && failureReason === 'TIMEOUT' ? 'the sender stood still' : undefined;
  }

  /** Why the log has another outcome than the receiver. Only a success that was heard of too late can be a failure. */
  whyOtherOutcome({ request, attempt }: MatchedRequest): string | undefined {
    if (attempt === undefined || request.answer === undefined || attempt.failureReason === null) return undefined;
    const { answer, connection } = request;
    if (attempt.failureReason === 'TIMEOUT') {
      if (answer.at >= attempt.endedAt - HEARD_WITHIN_MS) return 'the answer came too late';
      return this.#pauses.some(({ from, to }) => from <= attempt.endedAt && to >= attempt.startedAt)
        ? 'the sender stood still'
        : undefined;
    }
    const isCut = connection.isCutByReceiver && (connection.endedAt ?? 0) - answer.at <= CUT_WITHIN_MS;
    return isCut && attempt.failureReason === 'CONNECTION_RESET' ? 'the connection was cut' : undefined;
  }

  /** The happening because of which a delivery was attempted again under a number that was, or after it had succeeded. */
  doubling(before: MatchedRequest, again: MatchedRequest): Happening | undefined {
    const cause = this.killOf(before) ?? this.#pauses.find((pause) => this.#isOfPaused(pause, before, again));
    if (cause !== undefined) return cause;
    // Whoever begins an attempt that may not be the first asks Postgres, which did not know of the other one yet.
    const knownAt = before.attempt === undefined ? before.request.at : this.committedBy(before.attempt);
    if (again.request.at > knownAt) return undefined;
    return this.#happenings.find(
      ({ target, from, to }) => SERVERS.has(target) && from <= again.request.at && to >= before.request.at,
    );
  }

  /** One of the two requests is of the process that stood still: from before, while another took over, or from after. */
  #isOfPaused({ from, to }: Happening, before: MatchedRequest, again: MatchedRequest): boolean {
    const isFromBefore =
      before.request.at <= from + CUT_WITHIN_MS &&
      (before.attempt === undefined || this.committedBy(before.attempt) >= from);
    const isFromAfter = again.request.at >= to - CUT_WITHIN_MS && before.request.at >= from - RECORDED_WITHIN_MS;
    return (isFromBefore || isFromAfter) && again.request.at >= from && again.request.at <= to + RESUMED_WITHIN_MS;
  }

  /** When an attempt was in the log at the latest. */
  committedBy({ recordedAt }: LoggedAttempt): number {
    let latest = recordedAt + RECORDED_WITHIN_MS;
    for (const { target, from, to } of this.#happenings) {
      const isInBetween = target === 'postgres' && from <= latest && to + POSTGRES_SLACK_MS >= recordedAt;
      if (isInBetween) latest = Math.max(latest, to + POSTGRES_SLACK_MS);
    }
    return latest;
  }

  #stoodStill(since: number, until: number): boolean {
    return [...this.#happenings.filter(({ target }) => target === 'postgres'), ...this.#pauses].some(
      ({ from, to }) => from <= until && to + POSTGRES_SLACK_MS >= since,
    );
  }
}

function isOfSender({ target }: Happening): boolean {
  return target.startsWith('sender');
}
