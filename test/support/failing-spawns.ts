import { ChildProcess } from 'node:child_process';
import { vi } from 'vitest';

type Spawner = { spawn(options: object): number };

const UV_EMFILE = -24;

/** The next two child processes of this process cannot be started: Node.js emits the first error and throws the second. */
export function failTwoSpawns(): void {
  // `as`: an internal method, with which child_process starts every child.
  const spawn = vi.spyOn(ChildProcess.prototype as unknown as Spawner, 'spawn');
  spawn.mockImplementationOnce(function (this: ChildProcess) {
    process.nextTick(() => this.emit('error', new Error('spawn EMFILE')));
    return UV_EMFILE;
  });
  spawn.mockImplementationOnce(() => {
    spawn.mockRestore();
    throw new Error('spawn ENOMEM');
  });
}
