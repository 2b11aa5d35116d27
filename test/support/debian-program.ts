import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { fetchDebianPackage } from '../../src/embedded/debian-package.ts';
import { findProgram } from '../../src/embedded/find-program.ts';

export type DebianProgramOptions = {
  /** The name of the Debian package. */
  readonly package: string;
  readonly program: string;
  /** The folder of the package's programs. */
  readonly folder: string;
};

const KEPT = join(import.meta.dirname, '../../.data/debian');

/**
 * Returns the path of a Debian program: the installed one, or the one of its package, which is unpacked once without an
 * installation. If neither is available, prints the reason and returns undefined.
 */
export async function findDebianProgram(options: DebianProgramOptions): Promise<string | undefined> {
  const searchPath = (process.env['PATH'] ?? '').split(delimiter);
  try {
    const root = join(KEPT, options.package);
    return (
      (await findProgram(options.program, [options.folder])) ??
      (await findProgram(options.program, [root])) ??
      (await unpack(options, { searchPath, root }))
    );
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`skipped: Debian's ${options.program} is not available: ${reason}\n`);
    return undefined;
  }
}

type Place = { readonly searchPath: readonly string[]; readonly root: string };

async function unpack(options: DebianProgramOptions, { searchPath, root }: Place): Promise<string> {
  await mkdir(KEPT, { recursive: true });
  // A sibling of the final folder, on the same file system, so that it can be renamed.
  const folder = await mkdtemp(`${root}-`);
  try {
    const { package: name, program } = options;
    await fetchDebianPackage({ name, program, folder: options.folder, isComplete: true }, { searchPath, folder });
    await rename(join(folder, 'root'), root);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const libraries = (await readdir(join(root, 'usr/lib')))
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(root, 'usr/lib', name));
  for (const name of await readdir(join(root, options.folder))) {
    const script = `#!/bin/sh\nLD_LIBRARY_PATH='${libraries.join(':')}' exec '${join(root, options.folder, name)}' "$@"\n`;
    await writeFile(join(root, name), script, { mode: 0o755 });
  }
  const path = await findProgram(options.program, [root]);
  if (path === undefined) throw new Error(`the package ${options.package} does not contain ${options.program}`);
  return path;
}
