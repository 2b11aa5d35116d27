import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { StartError } from '../lib/start-error.ts';

/** Returns the path of the first executable of that name in the folders, as a shell does. Relative folders are skipped. */
export async function findProgram(name: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders.filter((candidate) => isAbsolute(candidate))) {
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Like `findProgram`, but throws a StartError if the program is not found. */
export async function requireProgram(name: string, folders: readonly string[]): Promise<string> {
  const path = await findProgram(name, folders);
  if (path === undefined) {
    throw new StartError(`there is no ${name} on this machine`);
  }
  return path;
}
