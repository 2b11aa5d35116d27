import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram, requireProgram } from './find-program.ts';
import type { FetchOptions } from './nats-release.ts';
import { runCommand } from './run-command.ts';

/**
 * Downloads Debian's (or Ubuntu's) package, which apt verifies, and unpacks it into `folder`; returns the program's path.
 * Needs no root and leaves the system as it is: apt reads the system's sources and keys, but everything that it writes is in `folder`.
 */
export async function fetchNatsFromDebian({ searchPath, folder }: FetchOptions): Promise<string> {
  const apt = await requireProgram('apt-get', searchPath);
  const dpkg = await requireProgram('dpkg-deb', searchPath);
  const config = join(folder, 'apt.conf');
  await Promise.all(
    ['lists/partial', 'archives/partial', 'root'].map((name) => mkdir(join(folder, name), { recursive: true })),
  );
  await writeFile(join(folder, 'status'), '');
  await writeFile(config, renderAptConfig(folder));
  await runCommand({ command: apt, args: ['-c', config, 'update'], timeoutMs: 120_000, cwd: folder });
  await runCommand({ command: apt, args: ['-c', config, 'download', 'nats-server'], timeoutMs: 120_000, cwd: folder });
  const archive = (await readdir(folder)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) {
    throw new Error('apt-get download left no package');
  }
  const root = join(folder, 'root');
  await runCommand({ command: dpkg, args: ['-x', join(folder, archive), root], timeoutMs: 60_000 });
  const program = await findProgram('nats-server', [join(root, 'usr/sbin'), join(root, 'usr/bin')]);
  if (program === undefined) {
    throw new Error(`Debian's package ${archive} holds no nats-server`);
  }
  return program;
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
