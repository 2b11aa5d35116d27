/** Milliseconds before a stream that ended begins again; doubles until a stream succeeds. */
const RESTART_MS = 1_000;
const LONGEST_RESTART_MS = 60_000;

/**
 * Runs a stream, and again each time it ends, until the signal is aborted. `run` calls `succeed` when the stream works: the
 * next pause is the shortest again.
 */
export async function restartUntil(signal: AbortSignal, run: (succeed: () => void) => Promise<void>): Promise<void> {
  let pauseMs = RESTART_MS;
  const succeed = () => {
    pauseMs = RESTART_MS;
  };
  while (!signal.aborted) {
    await run(succeed);
    const waitMs = pauseMs;
    pauseMs = Math.min(LONGEST_RESTART_MS, pauseMs * 2);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** The close code of graphql-ws when the server rejects the credential, at the start or later. */
const FORBIDDEN = 4403;

/** Whether a stream ended because the server rejects the credential. It begins again after the next sign-in. */
export function isForbidden(error: unknown): boolean {
  return error instanceof Event && 'code' in error && error.code === FORBIDDEN;
}
