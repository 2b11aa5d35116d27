import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { LATE_AFTER_MS } from '../delivery/sending/result-writer.ts';
import { FailureLog } from '../lib/failure-log.ts';
import { InFlight } from '../lib/in-flight.ts';
import { GREATEST_UUID, uuid7Floor, uuid7Source, uuid7Time } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import { failureLevel } from '../postgres/errors.ts';
import type { AnnouncedAttempt, AttemptFeed, CommittedAttempt } from './attempt-feed.ts';
import type { FairReads } from './fair-reads.ts';

export type LogWatcher = {
  readonly onAttempt: (attempt: CommittedAttempt) => void;
  /** Announcements may have been lost; attempts announced later may precede the lost ones in the log. */
  readonly onGap: () => void;
  /** All attempts up to this id (the `settledId`) have been announced, or precede a gap. */
  readonly onSettled: (id: string) => void;
};

type LiveLogOptions = {
  readonly feed: Pick<AttemptFeed, 'watch'>;
  readonly database: Pick<Database, 'pool' | 'readPool' | 'prisma' | 'clock'>;
  readonly reads: FairReads;
  readonly log: Logger;
  /** Maximum attempts that each watcher buffers. Default: see LiveBuffer. */
  readonly maxBuffered?: number | undefined;
};

/**
 * Upper bound between creating an attempt's id and committing it, including clock skew of up to half of it. Usually it is
 * milliseconds; only an outage of Postgres takes longer, see `settledId`.
 */
export const SETTLED_AFTER_MS = 15_000;
const CHECK_EVERY_MS = 2_000;
/** Milliseconds without a successful check after which Postgres counts as unavailable. */
const OUTAGE_AFTER_MS = 10_000;
/** Milliseconds in which senders commit their pending attempts after an outage; they retry every second. */
const RECOVERY_MS = 30_000;
/** Milliseconds without watchers after which the last check no longer tells whether there was an outage. */
const STALE_AFTER_MS = 60_000;
/** Maximum sources (see uuid7Source) whose last ids are kept. */
const MAX_SOURCES = 1_000;

/**
 * The attempts of all senders as they are committed, for the watchers in this process. Announcements can get lost.
 * Therefore each names its predecessor, and every 2 s the latest announcements are compared with the log. A missing
 * announcement is a gap.
 */
export class LiveLog {
  readonly #options: LiveLogOptions;
  readonly #watchers = new Set<LogWatcher>();
  /** The last announced id by source. Each sender is a source, and commits in the order of its ids. */
  readonly #lastIds = new LRUCache<string, string>({ max: MAX_SOURCES });
  /** Last ids by source that the last check found in the log and that had not been announced. */
  #overdue = new Map<string, string>();
  /** Ranges of ids by source that a check found in the log in time, before their announcements. */
  readonly #foundInTime = new LRUCache<string, { readonly since: string; readonly id: string }>({ max: MAX_SOURCES });
  /** Start of the last successful check. Undefined: it is not known whether there was an outage. */
  #checkedAt: number | undefined;
  #findingOutage: Promise<void> | undefined;
  /**
   * `since`: time of the last check before the outage. `until`: time by which senders have committed their pending
   * attempts.
   */
  #outage = { since: 0, until: 0 };
  readonly #reading = new InFlight();
  readonly #failures: FailureLog;
  #release: (() => void) | undefined;

  constructor(options: LiveLogOptions) {
    this.#options = options;
    this.#failures = new FailureLog(options.log, { work: 'live log check', levelOf: failureLevel });
  }

  /** For the reads of watchers. Unlike that of an operation it never waits for the tenant's CPU account. */
  get database(): LiveLogOptions['database'] {
    return this.#options.database;
  }

  get maxBuffered(): number | undefined {
    return this.#options.maxBuffered;
  }

  /** Calls the watcher for every attempt committed from now on, until the returned function is called. */
  watch(watcher: LogWatcher): () => void {
    this.#watchers.add(watcher);
    this.#release ??= this.#attach();
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size > 0) return;
      this.#release?.();
      this.#release = undefined;
    };
  }

  /**
   * No attempt with a smaller id is committed any longer. This id lies 15 s in the past, or further during an outage of
   * Postgres and shortly after. A sender that alone cannot reach Postgres commits later, and announces its attempts as
   * late.
   */
  get settledId(): string {
    const now = this.#now();
    const isRecovering = now < this.#outage.until;
    const since = this.#isUnavailable(now) ? (this.#checkedAt ?? 0) : now;
    return uuid7Floor((isRecovering ? Math.min(since, this.#outage.since) : since) - SETTLED_AFTER_MS);
  }

  /** Postgres's time in milliseconds since 1970, on which ids are based. */
  #now(): number {
    return this.#options.database.clock.now();
  }

  #isUnavailable(now: number): boolean {
    return now - (this.#checkedAt ?? 0) > OUTAGE_AFTER_MS;
  }

  /** Waits for checks in progress. Call it after all watchers have left. */
  async stop(): Promise<void> {
    await this.#reading.settled();
  }

  /**
   * Runs a watcher's read of Postgres: few at a time, round-robin by tenant. The read must wait for nothing but Postgres,
   * because watchers of other tenants wait for it.
   */
  readFairly<T>(tenant: string, read: () => Promise<T>): Promise<T> {
    return this.#options.reads.run(tenant, async () => {
      await this.#ensureOutageKnown();
      return read();
    });
  }

  /** A process that has not been checking searches the log for an outage before the first read. */
  async #ensureOutageKnown(): Promise<void> {
    if (this.#checkedAt !== undefined) return;
    this.#findingOutage ??= this.#findOutage().finally(() => {
      this.#findingOutage = undefined;
    });
    await this.#findingOutage;
  }

  async #findOutage(): Promise<void> {
    const now = this.#now();
    const options = { nowMs: now, sinceMs: now - RECOVERY_MS, lengthMs: OUTAGE_AFTER_MS };
    const since = await outageInLog(this.#options.database.pool, options);
    if (since !== undefined) this.#outage = { since, until: this.#now() + RECOVERY_MS };
    this.#checkedAt = now;
  }

  #attach(): () => void {
    this.#lastIds.clear();
    this.#overdue.clear();
    if (this.#checkedAt !== undefined && this.#now() - this.#checkedAt > STALE_AFTER_MS) this.#checkedAt = undefined;
    const release = this.#options.feed.watch({
      onAttempt: (attempt) => {
        this.#onAnnouncement(attempt);
      },
      onGap: () => {
        this.#gap();
      },
    });
    let checking = false;
    const timer = setInterval(() => {
      if (checking) return;
      checking = true;
      void this.#reading.track(this.#check()).finally(() => {
        checking = false;
      });
    }, CHECK_EVERY_MS);
    return () => {
      clearInterval(timer);
      release();
    };
  }

  #onAnnouncement({ previousId, ...attempt }: AnnouncedAttempt): void {
    const source = uuid7Source(attempt.id);
    const last = this.#lastIds.get(source);
    if (previousId !== undefined && (last === undefined || previousId > last)) this.#gap();
    if (last === undefined || attempt.id > last) this.#lastIds.set(source, attempt.id);
    // The sender stalled or was disconnected after committing; watchers already got this attempt from Postgres.
    const found = this.#foundInTime.get(source);
    const isInTime = found !== undefined && attempt.id >= found.since && attempt.id <= found.id;
    const announced = isInTime ? { ...attempt, isLate: false } : attempt;
    for (const watcher of this.#watchers) watcher.onAttempt(announced);
  }

  #gap(): void {
    for (const watcher of this.#watchers) watcher.onGap();
  }

  async #check(): Promise<void> {
    try {
      await this.#ensureOutageKnown();
      const now = this.#now();
      const sinceId = uuid7Floor((this.#checkedAt ?? now) - SETTLED_AFTER_MS);
      const logged = await latestAttempts(this.#options.database.pool, { sinceId });
      this.#recordCheck(now);
      this.#failures.succeeded();
      const overdue = logged.filter(({ source, id }) => (this.#lastIds.get(source) ?? '') < id);
      for (const last of overdue) this.#recordFound(last);
      // The announcement may be in transit: it counts as missing only at the next check.
      const isMissing = overdue.some(({ source }) => {
        const overdueId = this.#overdue.get(source);
        return overdueId !== undefined && (this.#lastIds.get(source) ?? '') < overdueId;
      });
      this.#overdue = new Map(isMissing ? [] : overdue.map(({ source, id }) => [source, id]));
      if (isMissing) {
        for (const { source, id } of overdue) this.#lastIds.set(source, id);
        this.#gap();
      } else if (overdue.length === 0) {
        for (const watcher of this.#watchers) watcher.onSettled(this.settledId);
      }
    } catch (error) {
      // Nothing is committed while Postgres is unavailable; the next check finds earlier commits.
      this.#failures.failed(error);
    }
  }

  #recordFound({ source, id }: { readonly source: string; readonly id: string }): void {
    // After Postgres's clock was set back, readers of before do not find new attempts in Postgres, so none is in time.
    const since = uuid7Floor(this.#options.database.clock.latest() - LATE_AFTER_MS);
    if (id >= since && this.#foundInTime.get(source)?.id !== id) this.#foundInTime.set(source, { since, id });
  }

  /** Records a successful check, by the time at which it started. */
  #recordCheck(startedAt: number): void {
    const now = this.#now();
    if (this.#isUnavailable(now)) {
      const since = now < this.#outage.until ? this.#outage.since : (this.#checkedAt ?? now);
      this.#outage = { since, until: now + RECOVERY_MS };
    }
    this.#checkedAt = startedAt;
  }
}

/** The last attempt in a range of ids from each process: its id, and its source (see uuid7Source). */
export async function latestAttempts(
  db: Queryable,
  { sinceId, untilId = GREATEST_UUID }: { readonly sinceId: string; readonly untilId?: string },
): Promise<{ readonly source: string; readonly id: string }[]> {
  // Selected as text, which has the same order, because Postgres before 18 has no max() for UUIDs.
  const { rows } = await db.query<{ source: string; id: string }>(
    'SELECT right(id::text, 12) AS source, max(id::text) AS id FROM attempts WHERE id > $1 AND id <= $2 GROUP BY 1',
    [sinceId, untilId],
  );
  return rows;
}

/**
 * Returns the time of the last attempt before an outage of Postgres that has not ended, or ended after `sinceMs`: the
 * log has a hole of at least `lengthMs`. A period without deliveries looks the same.
 */
async function outageInLog(
  db: Queryable,
  { nowMs, sinceMs, lengthMs }: { readonly nowMs: number; readonly sinceMs: number; readonly lengthMs: number },
): Promise<number | undefined> {
  const { rows } = await db.query<{ id: string }>(TIMES_OF_ATTEMPTS, [uuid7Floor(sinceMs)]);
  const times = rows.map(({ id }) => uuid7Time(id));
  return times.find((time, index) => (times[index + 1] ?? nowMs) - time > lengthMs);
}

// One attempt per quarter of a second is sufficient: the first ten digits of the ids.
const TIMES_OF_ATTEMPTS = `
  (SELECT id::text FROM attempts WHERE id <= $1 ORDER BY attempts.id DESC LIMIT 1)
  UNION ALL SELECT max(id::text) FROM attempts WHERE id > $1 GROUP BY left(id::text, 11)
  ORDER BY id`;
