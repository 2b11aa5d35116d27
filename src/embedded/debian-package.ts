import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartError } from '../lib/start-error.ts';
import { findProgram, requireProgram } from './find-program.ts';
import type { FetchOptions } from './nats-release.ts';
import { runCommand } from './run-command.ts';

export type DebianPackage = {
  readonly name: string;
  /** The file to run. */
  readonly program: string;
  /** Whether it comes with the libraries and packages that it needs and the system lacks. */
  readonly isComplete: boolean;
  /** Where the package puts the program; by default among the programs of users or administrators. */
  readonly folder?: string;
};

/**
 * Downloads a package of Debian's (or Ubuntu's), which apt verifies, and unpacks it into `folder`/root; returns the
 * program's path. Needs no root and leaves the system as it is: apt reads the system's sources, keys, and what is
 * installed, but everything that it writes is in `folder`.
 */
export async function fetchDebianPackage(
  { name, program, isComplete, folder: programFolder }: DebianPackage,
  { searchPath, folder }: FetchOptions,
): Promise<string> {
  const apt = await requireProgram('apt-get', searchPath);
  const dpkg = await requireProgram('dpkg-deb', searchPath);
  const config = join(folder, 'apt.conf');
  const [archives, root] = [join(folder, 'archives'), join(folder, 'root')];
  await Promise.all(
    [join(folder, 'lists/partial'), join(archives, 'partial'), root].map((path) => mkdir(path, { recursive: true })),
  );
  await (isComplete ? copyFile('/var/lib/dpkg/status', join(folder, 'status')) : writeFile(join(folder, 'status'), ''));
  await writeFile(config, renderAptConfig(folder));
  const download = isComplete ? ['install', '--download-only', '--yes', '--no-install-recommends'] : ['download'];
  await runCommand({ command: apt, args: ['-c', config, 'update'], timeoutMs: 120_000, cwd: archives });
  await runCommand({ command: apt, args: ['-c', config, ...download, name], timeoutMs: 120_000, cwd: archives });
  const packages = (await readdir(archives)).filter((file) => file.endsWith('.deb'));
  for (const file of packages) {
    await runCommand({ command: dpkg, args: ['-x', join(archives, file), root], timeoutMs: 60_000 });
  }
  const programFolders = programFolder === undefined ? ['usr/sbin', 'usr/bin'] : [programFolder];
  const path = await findProgram(
    program,
    programFolders.map((path) => join(root, path)),
  );
  if (path === undefined) {
    throw new StartError(
      `Debian's package ${name} holds no ${program} (${packages.join(', ') || 'nothing was downloaded'})`,
    );
  }
  return path;
}

/**
 * Hooks of the system's configuration (Docker's images have one that deletes the system's caches) are cleared.
 * The sandbox user may not write into our folder, so root downloads as root.
 */
function renderAptConfig(folder: string): string {
  return [
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    `Dir::State "${folder}";`,
    `Dir::State::lists "${join(folder, 'lists')}";`,
    `Dir::State::status "${join(folder, 'status')}";`,
    `Dir::Cache "${folder}";`,
    `Dir::Cache::archives "${join(folder, 'archives')}";`,
    `Dir::Log "${folder}";`,
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::Retries "1";',
    'Acquire::http::Timeout "20";',
    'Acquire::https::Timeout "20";',
    '',
  ].join('\n');
}
