import { chown } from 'node:fs/promises';
import { StartError } from '../lib/start-error.ts';
import { runCommand } from './run-command.ts';

/** Starts programs that refuse to run as root, and changes the owner of their files. */
export type Launcher = {
  /** The start of the command line, which drops root privileges; empty if this process is not root. */
  readonly prefix: readonly string[];
  /** Makes the launched program's user the owner of a file or folder, but not of the folder's content. */
  readonly own: (path: string) => Promise<void>;
  /** Makes the launched program's user the owner of a folder and its content. */
  readonly ownTree: (path: string) => Promise<void>;
};

/** The uid and gid of user nobody in the kernel and in every distribution. */
const NOBODY = 65_534;
const DROP = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
/**
 * Gives user nobody the capability dac_override and no other privilege of root, so that it can traverse folders that only
 * root may enter, such as /root. Without the secure bit the kernel drops the capability in access(2), which initdb calls
 * first (capabilities(7)).
 */
const PASS_FOLDERS = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--securebits=+no_setuid_fixup'];
const ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/**
 * For an ordinary user, the launcher changes nothing. For root, it starts programs as user nobody with setpriv
 * (util-linux), with the capability only if user nobody cannot reach one of `paths` without it.
 */
export async function createLauncher(paths: readonly string[]): Promise<Launcher> {
  if (process.getuid?.() !== 0) {
    return { prefix: [], own: async () => {}, ownTree: async () => {} };
  }
  if (process.platform !== 'linux') {
    throw new StartError(
      'the embedded Postgres does not run as root on this system: start as an ordinary user, or set DATABASE_URL',
    );
  }
  const prefix = ['setpriv', ...DROP];
  await runAs(prefix, 'true').catch((cause: unknown) => {
    const advice = 'install util-linux, start as an ordinary user, or set DATABASE_URL';
    throw new StartError(`Postgres refuses to run as root, and setpriv cannot start it as user nobody: ${advice}`, {
      cause,
    });
  });
  const tests = paths.map((path) => runAs(prefix, 'test', '-x', path));
  const reachable = (await Promise.allSettled(tests)).every((result) => result.status === 'fulfilled');
  return {
    prefix: reachable ? prefix : [...prefix, ...PASS_FOLDERS],
    own: (path) => chown(path, NOBODY, NOBODY),
    ownTree: async (path) => {
      const args = ['-R', `${NOBODY}:${NOBODY}`, path];
      await runCommand({ command: 'chown', args, timeoutMs: 60_000, env: ENVIRONMENT });
    },
  };
}

async function runAs(prefix: readonly string[], ...command: readonly string[]): Promise<void> {
  const [program = '', ...args] = [...prefix, ...command];
  await runCommand({ command: program, args, timeoutMs: 10_000, cwd: '/', env: ENVIRONMENT });
}
