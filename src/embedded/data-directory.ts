import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, link, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StartError } from '../lib/start-error.ts';
import { readProcess } from './running-process.ts';

/**
 * Creates the data directory, locks it for this process, and returns the function that unlocks it. Each process first
 * creates a lock file named after its pid and start time, and then reads the directory for lock files of other processes.
 * If two processes start at the same time, at least one of them finds the other's file, and so they cannot both succeed. A
 * lock file whose process no longer runs is invalid, and the process that finds it removes it; this releases the lock of a
 * killed process. The lock does not work between containers that mount the same directory: each sees only its own processes.
 */
export async function lockDataDirectory(dataDir: string): Promise<() => Promise<void>> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const self = await readProcess(process.pid);
  const own = join(dataDir, `lock.${process.pid}.${self?.startedAt ?? 'unknown'}`);
  const unlock = async () => rm(own, { force: true });
  for (let tries = 1; ; tries += 1) {
    await createOwnLock(own, dataDir);
    const holder = await findOtherHolder(dataDir, own).catch(async (error: unknown) => {
      await unlock();
      throw error;
    });
    if (holder === undefined) {
      return unlock;
    }
    await unlock();
    if (tries === 5) {
      throw new StartError(
        `the data directory ${dataDir} is in use by process ${holder}; stop it, or set another DATA_DIR`,
      );
    }
    // Two processes that start at the same time find each other's files. Random pauses let one of them succeed.
    await delay(20 + Math.random() * 100);
  }
}

/**
 * Rejects with the system's error for the first file that this user may not read, or the first folder that it may not read
 * and write, such as one that a start as another user has created. Without this check only the output of a server would
 * name the cause. Postgres checks the files of its cluster itself.
 */
export async function checkAccess(dataDir: string): Promise<void> {
  const folders = [dataDir];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (path === join(dataDir, 'postgres', 'data') || /^(?:lock|initdb)[.-]/.test(entry.name)) continue;
      await access(path, entry.isDirectory() ? constants.R_OK | constants.W_OK | constants.X_OK : constants.R_OK);
      if (entry.isDirectory()) folders.push(path);
    }
  }
}

async function createOwnLock(path: string, dataDir: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    throw hasCode(error, 'EEXIST')
      ? new StartError(`the data directory ${dataDir} is already in use by this process`)
      : error;
  }
}

async function findOtherHolder(dataDir: string, own: string): Promise<number | undefined> {
  for (const entry of await readdir(dataDir)) {
    const [, pid, startedAt] = /^lock\.(\d+)\.(.+)$/.exec(entry) ?? [];
    const path = join(dataDir, entry);
    if (pid === undefined || path === own) {
      continue;
    }
    const running = await readProcess(Number(pid));
    if (running !== undefined && running.startedAt === startedAt) {
      return running.pid;
    }
    await rm(path, { force: true });
  }
  return undefined;
}

/**
 * Reads a file that only its owner can read and trims its content. If the file does not exist, it is created with the
 * result of `create`. If several processes call this at the same time, one of them creates the file and all return the
 * same content.
 */
export async function readOrCreateSecretFile(path: string, create: () => string): Promise<string> {
  const existing = await readSecretFile(path);
  if (existing !== undefined) {
    return existing;
  }
  // Created atomically: written to a draft, which is then linked to its name. A kill leaves no partial file.
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`${create()}\n`);
    await file.sync();
    await link(draft, path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) {
      throw error;
    }
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
  return (await readSecretFile(path)) ?? Promise.reject(new StartError(`${path} disappeared while it was read`));
}

/** Atomically replaces a file with one that only its owner can read, whatever the mode of the old file was. */
export async function replaceSecretFile(path: string, content: string): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(draft, `${content}\n`, { mode: 0o600, flag: 'wx' });
  await rename(draft, path);
}

async function readSecretFile(path: string): Promise<string | undefined> {
  try {
    const content = (await readFile(path, 'utf8')).trim();
    return content === ''
      ? await Promise.reject(new StartError(`${path} is empty; delete it, or put the secret into it`))
      : content;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) {
      return undefined;
    }
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
