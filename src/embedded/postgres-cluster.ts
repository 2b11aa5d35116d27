import { randomBytes } from 'node:crypto';
import {
  access,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { explainForbidden, ServerStartError, StartError } from '../lib/start-error.ts';
import { readOrCreateSecretFile } from './data-directory.ts';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';
import { type Report, reportWhenSlow } from './report.ts';
import { runCommand } from './run-command.ts';
import { readProcess } from './running-process.ts';
import { createLauncher, type Launcher } from './unprivileged.ts';

/** An initialised cluster, and how to start and recognise its server. */
export type PostgresCluster = {
  readonly password: string;
  /** The command line, including the program. */
  readonly commandLine: (port: number) => readonly string[];
  /** Whether a command line is that of a Postgres serving this cluster. */
  readonly isServer: (args: readonly string[]) => boolean;
  /** Removes a stale lock file that would keep Postgres from starting. Call it only when no server of this cluster runs. */
  readonly removeMisleadingPidFile: () => Promise<void>;
};

export type PrepareClusterOptions = {
  readonly directory: string;
  readonly report: Report;
  /** By default the programs of this platform's npm package. */
  readonly binaries?: PostgresBinaries;
};

/** Creates the cluster in `directory` if none exists. `<directory>/password` contains the password of user postgres. */
export async function prepareCluster(options: PrepareClusterOptions): Promise<PostgresCluster> {
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  // The canonical path: `isServer` compares it with the one on a server's command line.
  const directory = await realpath(options.directory);
  const data = join(directory, 'data');
  const { initdb, postgres, lib, share } = options.binaries ?? (await findPostgresBinaries());
  const launcher = await prepareLauncher(directory, [initdb, postgres, lib, share]);
  await removeDrafts(directory);
  const exists = await access(join(data, 'PG_VERSION')).then(
    () => true,
    () => false,
  );
  const password = await readOrCreateSecretFile(join(directory, 'password'), () => {
    if (exists) {
      throw new StartError(
        `${directory} has a database but its file "password" is missing; restore it, or set DATABASE_URL`,
      );
    }
    return randomBytes(24).toString('hex');
  });
  if (!exists) {
    const work = () => initialise({ directory, data, initdb, launcher, password });
    await reportWhenSlow(options.report, 'Creating the embedded database…', work);
  }
  await checkVersion(data, postgres);
  await checkOwner(data, launcher);
  return {
    password,
    commandLine: (port) => [...launcher.prefix, postgres, '-D', data, ...settings(port)],
    isServer: (args) => basename(args[0] ?? '') === 'postgres' && args[1] === '-D' && args[2] === data,
    removeMisleadingPidFile: () => removeMisleadingPidFile(join(data, 'postmaster.pid')),
  };
}

/** Server settings. Errors are logged tersely and without statements, because these contain stored data. */
function settings(port: number): string[] {
  return [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    'unix_socket_directories=',
    'max_connections=100',
    'log_error_verbosity=terse',
    'log_min_error_statement=panic',
  ].flatMap((setting) => ['-c', setting]);
}

async function prepareLauncher(directory: string, programs: readonly string[]): Promise<Launcher> {
  if (process.getuid?.() === 0) {
    // Postgres runs as another user and has to traverse the directory; that user owns only `data`.
    await chmod(directory, 0o711);
  }
  return createLauncher([...programs, directory]);
}

/** Removes the drafts of interrupted initialisations. */
async function removeDrafts(directory: string): Promise<void> {
  for (const entry of await readdir(directory)) {
    if (entry.startsWith('initdb-')) {
      await rm(join(directory, entry), { recursive: true, force: true });
    }
  }
}

type Initialisation = {
  readonly directory: string;
  readonly data: string;
  readonly initdb: string;
  readonly launcher: Launcher;
  readonly password: string;
};

/** Creates the cluster atomically: initdb writes to a draft folder, which is then renamed to `data`. */
async function initialise({ directory, data, initdb, launcher, password }: Initialisation): Promise<void> {
  const draft = await mkdtemp(join(directory, 'initdb-'));
  const passwordFile = join(draft, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  await launcher.own(draft);
  await launcher.own(passwordFile);
  const options = ['--username=postgres', '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-instructions'];
  const [command = initdb, ...args] = [...launcher.prefix, initdb, '-D', join(draft, 'data'), ...options];
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };
  try {
    await runCommand({ command, args: [...args, `--pwfile=${passwordFile}`], timeoutMs: 120_000, cwd: draft, env });
    await rename(join(draft, 'data'), data);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const advice = 'set DATABASE_URL to use a Postgres of your own';
    throw new ServerStartError(`the embedded database could not be created in ${directory} (${advice})`, reason);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** Postgres refuses to start on a cluster of another major version, but its message names no setting of the engine. */
async function checkVersion(data: string, postgres: string): Promise<void> {
  const dataVersion = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
  const printed = await runCommand({ command: postgres, args: ['--version'], timeoutMs: 10_000, env: { LC_ALL: 'C' } });
  const [, programVersion = ''] = /\) (\d+)/.exec(printed) ?? [];
  if (dataVersion === programVersion) return;
  throw new StartError(
    `The database in ${data} is of Postgres ${dataVersion}, but this program includes Postgres ${programVersion}: migrate it with pg_upgrade or a dump, ` +
      `set DATABASE_URL to a Postgres ${dataVersion} that serves it, or set DATA_DIR to a new folder.`,
  );
}

/** Postgres serves only a cluster that its user owns. Another user may have run the engine before. */
async function checkOwner(data: string, launcher: Launcher): Promise<void> {
  if (process.getuid?.() === 0) {
    await launcher.ownTree(data);
  } else if ((await stat(data)).uid !== process.getuid?.()) {
    throw new StartError(explainForbidden({ path: data, dataDir: dirname(dirname(data)) }));
  }
}

/**
 * Removes the lock file of a killed server if another process now has its pid. Pids are reused, in containers at every
 * start. Postgres would take that process (even a thread) for a server of the same directory and refuse to start. If no
 * process has the pid, the file stays, because Postgres also reads from it whether children of a killed server still use
 * the shared memory.
 */
async function removeMisleadingPidFile(path: string): Promise<void> {
  const content = await readFile(path, 'utf8').catch(() => '');
  const pid = Number.parseInt(content, 10);
  if (pid > 0 && (await readProcess(pid)) !== undefined) {
    await rm(path, { force: true });
  }
}
