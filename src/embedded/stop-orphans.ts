import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { StartError } from '../lib/start-error.ts';
import { findProcesses, isStillRunning, type RunningProcess } from './running-process.ts';

export type StopOrphansOptions = {
  readonly name: string;
  /** Whether a command line is that of the program we would start, on the same directory. */
  readonly matches: (args: readonly string[]) => boolean;
  readonly signal: NodeJS.Signals;
  readonly log: Logger;
};

/**
 * Stops what an earlier run of ours left behind when it was killed. The caller holds the data directory's lock, so
 * whatever still works on that directory has lost its owner.
 */
export async function stopOrphans({ name, matches, signal, log }: StopOrphansOptions): Promise<void> {
  for (const orphan of await findProcesses(matches)) {
    log.warn({ orphanPid: orphan.pid }, `stopping a ${name} that an earlier run left behind`);
    if (
      (await stopOrphan(orphan, { signal, timeoutMs: 10_000 })) ||
      (await stopOrphan(orphan, { signal: 'SIGKILL', timeoutMs: 5_000 }))
    ) {
      continue;
    }
    throw new StartError(
      `a ${name} left behind by an earlier run does not stop: end process ${orphan.pid} and start again`,
    );
  }
}

type Push = { readonly signal: NodeJS.Signals; readonly timeoutMs: number };

/** Whether the process is gone in time. Looks again before it signals: the pid may have passed on. */
async function stopOrphan(orphan: RunningProcess, { signal, timeoutMs }: Push): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  if (await isStillRunning(orphan)) {
    try {
      process.kill(orphan.pid, signal);
    } catch {
      // It ended this moment, or belongs to another user; the loop below tells which.
    }
  }
  while (await isStillRunning(orphan)) {
    if (Date.now() > deadline) {
      return false;
    }
    await delay(50);
  }
  return true;
}
