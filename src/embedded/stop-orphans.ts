import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { StartError } from '../lib/start-error.ts';
import { findProcesses, isStillRunning, type RunningProcess } from './running-process.ts';

export type StopOrphansOptions = {
  readonly name: string;
  /** Whether a command line is that of the server that the caller is about to start, on the same directory. */
  readonly matches: (args: readonly string[]) => boolean;
  readonly signal: NodeJS.Signals;
  readonly log: Logger;
};

/**
 * Stops the servers of an earlier run of the engine that was killed. The caller must hold the data directory's lock, so a
 * server that still runs on that directory is an orphaned process.
 */
export async function stopOrphans({ name, matches, signal, log }: StopOrphansOptions): Promise<void> {
  for (const orphan of await findProcesses(matches)) {
    log.warn({ orphanPid: orphan.pid }, `stopping an orphaned ${name} of an earlier run`);
    if (
      (await stopOrphan(orphan, { signal, timeoutMs: 10_000 })) ||
      (await stopOrphan(orphan, { signal: 'SIGKILL', timeoutMs: 5_000 }))
    ) {
      continue;
    }
    throw new StartError(
      `an orphaned ${name} of an earlier run does not stop: kill process ${orphan.pid} and start again`,
    );
  }
}

type StopStep = { readonly signal: NodeJS.Signals; readonly timeoutMs: number };

/** Signals the process and returns whether it ends in time. Checks first that the pid still belongs to the same process. */
async function stopOrphan(orphan: RunningProcess, { signal, timeoutMs }: StopStep): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  if (await isStillRunning(orphan)) {
    try {
      process.kill(orphan.pid, signal);
    } catch {
      // The process has just ended, or belongs to another user: the loop below finds out which.
    }
  }
  while (await isStillRunning(orphan)) {
    if (performance.now() > deadline) {
      return false;
    }
    await delay(50);
  }
  return true;
}
