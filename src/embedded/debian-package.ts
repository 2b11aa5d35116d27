import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartError } from '../lib/start-error.ts';
import { findProgram, requireProgram } from './find-program.ts';
import type { FetchOptions } from './nats-release.ts';
import { runCommand } from './run-command.ts';

export type DebianPackage = {
  readonly name: string;
  /** The name of the executable file. */
  readonly program: string;
  /** Whether the packages that it depends on and that are not installed are fetched too. */
  readonly isComplete: boolean;
  /** The program's folder in the package; by default usr/sbin or usr/bin. */
  readonly folder?: string;
};

/**
 * Downloads a Debian or Ubuntu package, whose signature apt verifies, unpacks it into `folder`/root and returns the
 * program's path. It needs no root privileges and changes nothing in the system: apt reads the system's sources, keys and
 * list of installed packages, and writes only into `folder`.
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
      `Debian's package ${name} contains no ${program} (${packages.join(', ') || 'nothing was downloaded'})`,
    );
  }
  return path;
}

/**
 * Clears the hooks of the system's apt configuration: that of Docker images deletes the system's caches. If this process
 * is root, apt must also download as root, because apt's sandbox user may not write into `folder`.
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
