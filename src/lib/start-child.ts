import { ChildProcess } from 'node:child_process';
import process from 'node:process';

/**
 * Starts a child process. If the operating system cannot start it, the child has no pid and emits `error`: Node.js does so
 * at the limit of open files or processes, but throws for lack of memory. `stdout` and `stderr` can be missing then.
 */
export function startChild(start: () => ChildProcess): ChildProcess {
  try {
    return start();
  } catch (error) {
    const child = new ChildProcess();
    process.nextTick(() => child.emit('error', error));
    return child;
  }
}
