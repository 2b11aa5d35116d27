import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Replay } from '../generated/prisma/client.ts';
import { FailureLog } from '../lib/failure-log.ts';
import { InFlight } from '../lib/in-flight.ts';
import { latestValues } from '../lib/latest-values.ts';
import type { Database } from '../postgres/client.ts';
import { failureLevel } from '../postgres/errors.ts';

/** Called with the replay's row; undefined if it no longer exists. */
type ReplayWatcher = (replay: Replay | undefined) => void;

const INTERVAL_MS = 1_000;

/**
 * Reads all watched replays once a second with one query, so that watchers depend neither on NATS nor on the process
 * that runs a replay. Without watchers it reads nothing.
 */
export class ReplayFeed {
  readonly #prisma: Database['prisma'];
  readonly #failures: FailureLog;
  readonly #watchers = new Map<string, Set<ReplayWatcher>>();
  readonly #reading = new InFlight();
  #isReading = false;

  constructor({ prisma }: Database, log: Logger) {
    this.#prisma = prisma;
    this.#failures = new FailureLog(log, { work: 'reading watched replays', levelOf: failureLevel });
  }

  /** Calls `watcher` with the replay once a second until the returned function is called. */
  watch(replayId: string, watcher: ReplayWatcher): () => void {
    const watchers = this.#watchers.get(replayId) ?? new Set();
    this.#watchers.set(replayId, watchers.add(watcher));
    if (!this.#isReading) void this.#readAll();
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(replayId) === watchers) this.#watchers.delete(replayId);
    };
  }

  /** Waits for the read in progress. watch() must not be called afterwards. */
  async stop(): Promise<void> {
    await this.#reading.settled();
  }

  async #readAll(): Promise<void> {
    this.#isReading = true;
    while (this.#watchers.size > 0) {
      try {
        await this.#reading.track(this.#read());
        this.#failures.succeeded();
      } catch (error) {
        this.#failures.failed(error);
      }
      await delay(INTERVAL_MS, undefined, { ref: false });
    }
    this.#isReading = false;
  }

  async #read(): Promise<void> {
    const watched = [...this.#watchers];
    const replays = await this.#prisma.replay.findMany({ where: { id: { in: watched.map(([id]) => id) } } });
    const byId = new Map(replays.map((replay) => [replay.id, replay]));
    for (const [id, watchers] of watched) for (const watcher of watchers) watcher(byId.get(id));
  }
}

/** Emits the given state of a replay, then each change. Ends with the replay, or when the server stops. */
export function watchReplay(
  feed: ReplayFeed,
  { replay, stopping }: { readonly replay: Replay; readonly stopping: AbortSignal },
): AsyncIterableIterator<Replay> {
  return latestValues<Replay>(({ emit, end }) => {
    let emitted: Replay | undefined;
    const report = (state: Replay | undefined) => {
      if (state !== undefined && hasChanged(state, emitted)) emit(state);
      emitted = state;
      if (state?.status !== 'RUNNING') end();
    };
    report(replay);
    return replay.status === 'RUNNING' ? feed.watch(replay.id, report) : () => undefined;
  }, stopping);
}

function hasChanged(replay: Replay, before: Replay | undefined): boolean {
  const fields = ['status', 'replayedCount', 'skippedCount', 'ratePerSecond'] as const;
  return fields.some((field) => replay[field] !== before?.[field]);
}
