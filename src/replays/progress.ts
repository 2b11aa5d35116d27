import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Replay } from '../generated/prisma/client.ts';
import { InFlight } from '../lib/loop.ts';
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
  readonly #log: Logger;
  readonly #watchers = new Map<string, Set<ReplayWatcher>>();
  readonly #reading = new InFlight();
  #isReading = false;

  constructor({ prisma }: Database, log: Logger) {
    this.#prisma = prisma;
    this.#log = log;
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
      } catch (error) {
        this.#log[failureLevel(error)]({ err: error }, 'reading watched replays failed; retrying');
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

type Watch = {
  /** The state that was not emitted yet; a newer state replaces it. */
  latest: Replay | undefined;
  isOver: boolean;
  wake: () => void;
};

/** Emits the given state of a replay, then each change. Ends with the replay, or when the server stops. */
export function watchReplay(
  feed: ReplayFeed,
  { replay, stopping }: { readonly replay: Replay; readonly stopping: AbortSignal },
): AsyncIterableIterator<Replay> {
  const watch: Watch = { latest: replay, isOver: replay.status !== 'RUNNING', wake: () => undefined };
  const release = feed.watch(replay.id, (state) => {
    watch.latest = state;
    watch.isOver ||= state?.status !== 'RUNNING';
    watch.wake();
  });
  const end = () => {
    watch.isOver = true;
    watch.latest = undefined;
    watch.wake();
    release();
    stopping.removeEventListener('abort', end);
  };
  stopping.addEventListener('abort', end);
  if (stopping.aborted) end();
  const emissions = emit(watch, end);
  return {
    next: () => emissions.next(),
    // A generator's own `return` would wait for the next change.
    return: () => {
      end();
      return emissions.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function* emit(watch: Watch, end: () => void): AsyncGenerator<Replay, undefined> {
  try {
    let emitted: Replay | undefined;
    for (let state = await take(watch); state !== undefined; state = await take(watch)) {
      if (hasChanged(state, emitted)) yield state;
      emitted = state;
    }
    return undefined;
  } finally {
    end();
  }
}

/** Resolves with the next state; undefined if the watch has ended and all states were emitted. */
async function take(watch: Watch): Promise<Replay | undefined> {
  while (watch.latest === undefined && !watch.isOver) {
    await new Promise<void>((resolve) => {
      watch.wake = resolve;
    });
  }
  const { latest } = watch;
  watch.latest = undefined;
  return latest;
}

function hasChanged(replay: Replay, before: Replay | undefined): boolean {
  const fields = ['status', 'replayedCount', 'skippedCount', 'ratePerSecond'] as const;
  return fields.some((field) => replay[field] !== before?.[field]);
}
