import { chown } from 'node:fs/promises';
import { StartError } from '../lib/start-error.ts';
import { runCommand } from './run-command.ts';

/** How to start programs that refuse to run as root, and how to give them files. */
export type Launcher = {
  /** The prefix of the command line that drops root; empty when this process is not root. */
  readonly prefix: readonly string[];
  /** Makes a file or folder (not what is in it) the launched program's own. */
  readonly own: (path: string) => Promise<void>;
  /** The same, with everything in it. */
  readonly ownTree: (path: string) => Promise<void>;
};

/** User nobody and its group, under the numbers the kernel and every distribution use for them. */
const NOBODY = 65_534;
const DROP = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
/**
 * Lets nobody pass folders that only root may enter, such as /root, and nothing else of root's power. Without the
 * secure bit the kernel takes the capability away for access(2), which initdb asks first (capabilities(7)).
 */
const PASS_FOLDERS = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--securebits=+no_setuid_fixup'];
const ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/**
 * For an ordinary user: nothing to do. For root: user nobody by setpriv (util-linux), with the one capability only if
 * nobody can't reach one of `paths` without it.
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
