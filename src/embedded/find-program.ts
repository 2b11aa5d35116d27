import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { StartError } from '../lib/start-error.ts';

/** The first executable of that name in the folders, as a shell would find it; relative folders are left out. */
export async function findProgram(name: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders.filter((candidate) => isAbsolute(candidate))) {
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** As `findProgram`, for a program that the caller can't do without. */
export async function requireProgram(name: string, folders: readonly string[]): Promise<string> {
  const path = await findProgram(name, folders);
  if (path === undefined) {
    throw new StartError(`there is no ${name} on this machine`);
  }
  return path;
}
