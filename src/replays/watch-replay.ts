import type { ReplayFeed } from './replay-feed.ts';
import type { Replay } from '../generated/prisma/client.ts';

type Watch = {
  /** What has not been taken yet; a newer state replaces it. */
  latest: Replay | undefined;
  isOver: boolean;
  wake: () => void;
};

/** The given state of a replay, then what it changes to. Ends with the replay, or when the server stops. */
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

/** Resolves with what has not been taken yet; undefined once the watch is over and nothing is left. */
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
  return (['status', 'replayedCount', 'skippedCount'] as const).some((field) => replay[field] !== before?.[field]);
}
