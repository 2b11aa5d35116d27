import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { LATE_AFTER_MS } from '../delivery/sending/result-writer.ts';
import { InFlight } from '../lib/loop.ts';
import { FairSemaphore } from '../lib/semaphore.ts';
import { uuid7Floor, uuid7Source, uuid7Time } from '../lib/uuid7.ts';
import type { NatsClient } from '../nats/connection.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import type { AnnouncedAttempt, CommittedAttempt } from './feed.ts';

export type LogWatcher = {
  readonly onAttempt: (attempt: CommittedAttempt) => void;
  /** Attempts may have been committed that were not announced; what comes after may be in the log before them. */
  readonly onGap: () => void;
  /** All attempts up to this id have been announced, or were before a gap: it is the `settledId`. */
  readonly onSettled: (id: string) => void;
};

type LiveLogOptions = {
  readonly bus: Pick<NatsClient, 'watchAttempts'>;
  readonly database: Pick<Database, 'pool' | 'clock'>;
  readonly log: Logger;
};

/**
 * An attempt is committed at most so long after its id was made, as a rule within milliseconds. Half of it is the most by
 * which clocks may differ. Longer than that only after an outage of Postgres: see `settledId`.
 */
export const SETTLED_AFTER_MS = 15_000;
const CHECK_EVERY_MS = 2_000;
/** When no check has succeeded for so long, it is an outage. */
const OUTAGE_AFTER_MS = 10_000;
/** Once Postgres answers again, senders commit what they have within so long: they try every second. */
const RECOVERY_MS = 30_000;
/** When nobody has watched for so long, what the last check said is of no use. */
const STALE_AFTER_MS = 60_000;
const MAX_SOURCES = 1_000;
/** Of the 10 connections that GraphQL has: when an api process starts, a thousand watchers may come back at once. */
const MAX_READS = 3;
/** One tenant's may take long. */
const MAX_READS_PER_HOLDER = 2;

/**
 * The attempts of all senders as they are committed, for the watchers in this process. Announcements can get lost: each
 * one names the one before it, and every 2 s the last ones are compared with the log; what is missing is a gap.
 */
export class LiveLog {
  readonly #options: LiveLogOptions;
  readonly #watchers = new Set<LogWatcher>();
  /** The last id that was announced, by the sequence it is from: each sender has its own, and commits in its order. */
  readonly #lastIds = new LRUCache<string, string>({ max: MAX_SOURCES });
  /** What the log had at the last check, and had not been announced. */
  #overdue = new Map<string, string>();
  /** The ids of a source that were in the log in time, by a check, and had not been announced. */
  readonly #foundInTime = new LRUCache<string, { readonly since: string; readonly id: string }>({ max: MAX_SOURCES });
  /** Undefined: nothing is known of an outage there may have been. */
  #checkedAt: number | undefined;
  #learning: Promise<void> | undefined;
  /** When the last check before an outage was, and until when senders may be busy with what they could not commit. */
  #outage = { since: 0, until: 0 };
  readonly #reads = new FairSemaphore({ max: MAX_READS, maxPerHolder: MAX_READS_PER_HOLDER });
  readonly #reading = new InFlight();
  #release: (() => void) | undefined;

  constructor(options: LiveLogOptions) {
    this.#options = options;
  }

  /** Tells the watcher of every attempt committed from now on, until the returned function is called. */
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
   * Nothing with a smaller id is committed any more: it is of 15 s ago, or of longer ago during an outage of Postgres and
   * shortly after. If senders have an outage of their own, their attempts come late; they are announced as such.
   */
  get settledId(): string {
    const now = this.#now();
    const isRecovering = now < this.#outage.until;
    const since = this.#isAway(now) ? (this.#checkedAt ?? 0) : now;
    return uuid7Floor((isRecovering ? Math.min(since, this.#outage.since) : since) - SETTLED_AFTER_MS);
  }

  /** Postgres's time, which ids have theirs from. */
  #now(): number {
    return this.#options.database.clock.now();
  }

  #isAway(now: number): boolean {
    return now - (this.#checkedAt ?? 0) > OUTAGE_AFTER_MS;
  }

  /** Waits for what is being read; nobody may watch any more. */
  async stop(): Promise<void> {
    await this.#reading.settled();
  }

  /** Reads what a watcher has to get from Postgres: few do at a time, and those of other tenants are not kept waiting. */
  readFairly<T>(holder: string, read: () => Promise<T>): Promise<T> {
    return this.#reading.track(
      this.#reads.run(holder, async () => {
        await this.#learn();
        return read();
      }),
    );
  }

  /** Before anything is read, a process that was not there looks into the log for an outage that it does not know of. */
  async #learn(): Promise<void> {
    if (this.#checkedAt !== undefined) return;
    this.#learning ??= this.#findOutage().finally(() => {
      this.#learning = undefined;
    });
    await this.#learning;
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
    const release = this.#options.bus.watchAttempts({
      onAttempt: (attempt) => {
        this.#hear(attempt);
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

  #hear({ previousId, ...attempt }: AnnouncedAttempt): void {
    const source = uuid7Source(attempt.id);
    const last = this.#lastIds.get(source);
    if (previousId !== undefined && (last === undefined || previousId > last)) this.#gap();
    if (last === undefined || attempt.id > last) this.#lastIds.set(source, attempt.id);
    // Its sender has stood still since the commit, or was cut off: watchers have been given it from Postgres.
    const found = this.#foundInTime.get(source);
    const isInTime = found !== undefined && attempt.id >= found.since && attempt.id <= found.id;
    const heard = isInTime ? { ...attempt, isLate: false } : attempt;
    for (const watcher of this.#watchers) watcher.onAttempt(heard);
  }

  #gap(): void {
    for (const watcher of this.#watchers) watcher.onGap();
  }

  async #check(): Promise<void> {
    try {
      await this.#learn();
      const now = this.#now();
      const sinceId = uuid7Floor((this.#checkedAt ?? now) - SETTLED_AFTER_MS);
      const logged = await latestAttempts(this.#options.database.pool, { sinceId });
      this.#noteAnswer(now);
      const overdue = logged.filter(({ source, id }) => (this.#lastIds.get(source) ?? '') < id);
      for (const last of overdue) this.#noteFound(last);
      // Its announcement may be on its way: only at the next check it is missing.
      const isMissing = overdue.some(({ source }) => {
        const known = this.#overdue.get(source);
        return known !== undefined && (this.#lastIds.get(source) ?? '') < known;
      });
      this.#overdue = new Map(isMissing ? [] : overdue.map(({ source, id }) => [source, id]));
      if (isMissing) {
        for (const { source, id } of overdue) this.#lastIds.set(source, id);
        this.#gap();
      } else if (overdue.length === 0) {
        for (const watcher of this.#watchers) watcher.onSettled(this.settledId);
      }
    } catch (error) {
      // While Postgres is away nothing is committed; the next check sees what was before.
      this.#options.log.debug({ err: error }, 'the live log was not compared with Postgres');
    }
  }

  #noteFound({ source, id }: { readonly source: string; readonly id: string }): void {
    const since = uuid7Floor(this.#now() - LATE_AFTER_MS);
    if (id >= since && this.#foundInTime.get(source)?.id !== id) this.#foundInTime.set(source, { since, id });
  }

  /** `startedAt`: of the check that Postgres has answered. */
  #noteAnswer(startedAt: number): void {
    const now = this.#now();
    if (this.#isAway(now)) {
      const since = now < this.#outage.until ? this.#outage.since : (this.#checkedAt ?? now);
      this.#outage = { since, until: now + RECOVERY_MS };
    }
    this.#checkedAt = startedAt;
  }
}

const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/** The last attempt that each process has logged since, up to an id if one is given: its id, and the sequence its ids come from (see lib/uuid7.ts). */
export async function latestAttempts(
  db: Queryable,
  { sinceId, untilId = LAST_ID }: { readonly sinceId: string; readonly untilId?: string },
): Promise<{ readonly source: string; readonly id: string }[]> {
  // As text, in which ids have the same order: Postgres before 18 has no max() of UUIDs.
  const { rows } = await db.query<{ source: string; id: string }>(
    'SELECT right(id::text, 12) AS source, max(id::text) AS id FROM attempts WHERE id > $1 AND id <= $2 GROUP BY 1',
    [sinceId, untilId],
  );
  return rows;
}

/**
 * When the last attempt before an outage of Postgres was made, if one is under way or was over only since then: the log
 * has a hole of that length. After a quiet time it has one as well.
 */
async function outageInLog(
  db: Queryable,
  { nowMs, sinceMs, lengthMs }: { readonly nowMs: number; readonly sinceMs: number; readonly lengthMs: number },
): Promise<number | undefined> {
  const { rows } = await db.query<{ id: string }>(STATEMENT, [uuid7Floor(sinceMs)]);
  const times = rows.map(({ id }) => uuid7Time(id));
  return times.find((time, index) => (times[index + 1] ?? nowMs) - time > lengthMs);
}

// One attempt of each quarter of a second is enough, which is what the first ten digits say.
const STATEMENT = `
  (SELECT id::text FROM attempts WHERE id <= $1 ORDER BY attempts.id DESC LIMIT 1)
  UNION ALL SELECT max(id::text) FROM attempts WHERE id > $1 GROUP BY left(id::text, 11)
  ORDER BY id`;
