import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type TempFolder = { readonly path: string; remove(): Promise<void> };

const MEMORY = '/dev/shm';
/** Several times the size of all files that the servers of a run write. /dev/shm of containers often has only 64 MiB. */
const MIN_MEMORY_BYTES = 2 * 1024 ** 3;

/** Creates a folder that only its owner may access. */
export async function createTempFolder(): Promise<TempFolder> {
  const path = await mkdtemp(join(PARENT, 'webhooks-engine-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}

/**
 * In memory if Linux has space for it there and allows executables: copying a database of 600 files takes a twentieth of
 * the CPU time of the copy on ext4.
 */
const PARENT = isMemoryUsable() ? MEMORY : tmpdir();

function isMemoryUsable(): boolean {
  if (!existsSync(MEMORY) || !existsSync('/proc/mounts')) return false;
  const mount = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .find((line) => line.includes(` ${MEMORY} `));
  const { bavail, bsize } = statfsSync(MEMORY);
  return mount !== undefined && !/\bnoexec\b/.test(mount) && bavail * bsize >= MIN_MEMORY_BYTES;
}
