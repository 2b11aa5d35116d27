import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database } from '../postgres/client.ts';
import type { Replay } from '../generated/prisma/client.ts';
import { InFlight } from '../lib/in-flight.ts';

/** Gets a replay as it is in Postgres; undefined once it is gone. */
export type ReplayWatcher = (replay: Replay | undefined) => void;

const INTERVAL_MS = 1_000;

/**
 * Reads the replays that somebody watches once a second, all of them in one query for all who watch: what they see does
 * not depend on NATS, or on which process works on a replay. Reads nothing while nobody watches.
 */
export class ReplayFeed {
  readonly #prisma: Database['prisma'];
  readonly #log: Logger;
  readonly #watchers = new Map<string, Set<ReplayWatcher>>();
  readonly #reading = new InFlight();
  #isReading = false;

  constructor({ prisma }: Database, log: Logger) {
    this.#prisma = prisma;
    this.#log = log;
  }

  /** Tells the watcher of a replay once a second, until the returned function is called. */
  watch(replayId: string, watcher: ReplayWatcher): () => void {
    const watchers = this.#watchers.get(replayId) ?? new Set();
    this.#watchers.set(replayId, watchers.add(watcher));
    if (!this.#isReading) void this.#readAll();
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(replayId) === watchers) this.#watchers.delete(replayId);
    };
  }

  /** Waits for what is being read; nobody may watch any more. */
  async stop(): Promise<void> {
    await this.#reading.settled();
  }

  async #readAll(): Promise<void> {
    this.#isReading = true;
    while (this.#watchers.size > 0) {
      try {
        await this.#reading.track(this.#read());
      } catch (error) {
        this.#log.debug({ err: error }, 'the replays that are watched could not be read');
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
