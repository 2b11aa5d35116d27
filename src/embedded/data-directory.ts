import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, link, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StartError } from '../lib/start-error.ts';
import { readProcess } from './running-process.ts';

/**
 * Creates the data directory and takes it for this process alone; returns what gives it back. Every contender first
 * leaves a file that names it (pid and start time), and then looks for others: of two that contend, at least one sees the other,
 * so never do both succeed. A file whose process is gone means nothing and is removed by the process that sees it: that is how
 * the lock of a killed program ends. It cannot see into another container that mounts the same directory.
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
    // Two that start at the same moment see each other; different waits let one of them through.
    await delay(20 + Math.random() * 100);
  }
}

/**
 * Rejects with the system's error for the first file that this user may not read and write: one that a start as another user
 * has made would only show in what a server prints. Postgres's own files are its server's to check.
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
 * The content of a file only its owner can read, without white space around it; what `create` makes if the file is
 * not there yet. When several processes come at once, one of them creates it and all get the same content.
 */
export async function readOrCreateSecretFile(path: string, create: () => string): Promise<string> {
  const existing = await readSecretFile(path);
  if (existing !== undefined) {
    return existing;
  }
  // Written under another name first: nobody sees half of it, not even after a kill.
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

/** Writes a file only its owner can read, in place of an existing one, whose readers could read that. */
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
