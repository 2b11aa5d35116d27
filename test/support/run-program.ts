import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { NODE_FLAGS } from '../../src/relaunch.ts';

export type Program = {
  readonly child: ChildProcess;
  /** The first line of output; rejects with the error output if the program ends before it. */
  readonly firstLine: Promise<string>;
  /** The text written to standard error so far. */
  errorOutput(): string;
  /** The text written to standard output and standard error so far. */
  output(): string;
  /** Sends the signal and waits until the program has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
};

export type RunProgramOptions = {
  readonly args: readonly string[];
  /** User id to run as; requires root. */
  readonly uid?: number | undefined;
  /** Home directory of the user. */
  readonly home: string;
  /** Working directory; by default the root of the repository. */
  readonly cwd?: string;
  /** Flags of Node.js; by default those of `npm start` for compiled files, and tsx for sources. */
  readonly nodeFlags?: readonly string[];
  /** Environment variables in addition to PATH, HOME and TMPDIR. */
  readonly env?: Readonly<Record<string, string>>;
};

const ROOT = join(import.meta.dirname, '../..');
const TSX = ['--import', 'tsx'];

/** Whether the user may read a file: the repository may be in a folder that only root may read. */
export async function canRead(uid: number, path: string): Promise<boolean> {
  const child = spawn('env', ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', 'test', '-r', path], {
    stdio: 'ignore',
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code === 0;
}

/** Runs a TypeScript or compiled file of the repository in its own process. */
export function runProgram(path: string, options: RunProgramOptions): Program {
  const { args, uid, home, cwd = ROOT, nodeFlags = path.endsWith('.ts') ? TSX : NODE_FLAGS, env: extra = {} } = options;
  const asUser = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const [command = '', ...rest] = [...asUser, process.execPath, ...nodeFlags, join(ROOT, path), ...args];
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, TMPDIR: home, ...extra };
  const child = spawn(command, rest, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  let errors = '';
  let output = '';
  child.stderr.on('data', (chunk) => {
    errors += String(chunk);
    output += String(chunk);
  });
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
  });
  const firstLine = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    void ended.then(() => {
      reject(new Error(`the program ended: ${errors}`));
    });
  });
  return {
    child,
    firstLine,
    errorOutput: () => errors,
    output: () => output,
    end: async (signal) => {
      const gone = child.exitCode !== null || child.signalCode !== null ? undefined : once(child, 'exit');
      child.kill(signal);
      await gone;
    },
  };
}
