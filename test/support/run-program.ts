import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { NODE_FLAGS } from '../../src/relaunch.ts';

export type Program = {
  readonly child: ChildProcess;
  /** The first line it prints; rejects with its error output when it ends before. */
  readonly firstLine: Promise<string>;
  /** What it has written to standard error. */
  errorOutput(): string;
  /** What it has written to standard output and standard error. */
  output(): string;
  /** Signals it and waits for its end. */
  end(signal: NodeJS.Signals): Promise<void>;
};

export type RunProgramOptions = {
  readonly args: readonly string[];
  /** The user to become; needs root. */
  readonly uid?: number | undefined;
  /** The user's home. */
  readonly home: string;
  /** Where it runs, instead of in the repository. */
  readonly cwd?: string;
  /** What Node.js is started with; as a rule what `npm start` has for what is compiled, and tsx for sources. */
  readonly nodeFlags?: readonly string[];
  /** Its environment beside PATH, HOME and TMPDIR. */
  readonly env?: Readonly<Record<string, string>>;
};

const ROOT = join(import.meta.dirname, '../..');
const TSX = ['--import', 'tsx'];

/** Whether that user may read a file: the repository may be where only root can. */
export async function canRead(uid: number, path: string): Promise<boolean> {
  const child = spawn('env', ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', 'test', '-r', path], {
    stdio: 'ignore',
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code === 0;
}

/** Runs a file of the repository, TypeScript or what it was compiled to, in a process of its own. */
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
