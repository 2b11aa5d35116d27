import { execFile } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';
import process from 'node:process';
import { promisify } from 'node:util';

/** What the figures hold for: the machine and how busy it was, the version of Node, the commit. */
export async function describeSurroundings() {
  return {
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      loadAtStart: loadavg()[0],
    },
    node: process.version,
    commit: await readCommit(),
  };
}

/** With `-dirty` if the working tree has other code. */
async function readCommit(): Promise<string> {
  const args = ['describe', '--always', '--dirty', '--exclude', '*', '--abbrev=40'];
  return promisify(execFile)('git', args, { cwd: import.meta.dirname }).then(
    ({ stdout }) => stdout.trim(),
    () => 'unknown',
  );
}
