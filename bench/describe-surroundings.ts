import { execFile } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';
import process from 'node:process';
import { promisify } from 'node:util';
import type { Stack } from './stack.ts';

/** Describes the conditions of a run: the machine and its load, the versions and the commit. */
export async function describeSurroundings({ nats, query }: Pick<Stack, 'nats' | 'query'>) {
  const [postgres] = await query<{ server_version: string }>('SHOW server_version');
  return {
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      loadAtStart: loadavg()[0],
    },
    versions: { node: process.version, postgres: postgres?.server_version, natsServer: nats.info?.version },
    commit: await readCommit(),
  };
}

/** The hash of HEAD, with `-dirty` if the working tree differs from it. */
async function readCommit(): Promise<string> {
  const args = ['describe', '--always', '--dirty', '--exclude', '*', '--abbrev=40'];
  return promisify(execFile)('git', args, { cwd: import.meta.dirname }).then(
    ({ stdout }) => stdout.trim(),
    () => 'unknown',
  );
}
