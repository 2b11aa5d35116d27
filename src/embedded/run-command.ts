import { execFile } from 'node:child_process';
import { StartError } from '../lib/start-error.ts';

export type RunCommandOptions = {
  readonly command: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly cwd?: string;
  /** The whole environment of the command; our own when left out. */
  readonly env?: Readonly<Record<string, string>>;
};

/** Runs a command to its end and returns what it printed; throws with the end of its error output when it fails. */
export async function runCommand(options: RunCommandOptions): Promise<string> {
  const { command, args, timeoutMs, ...place } = options;
  return new Promise((resolve, reject) => {
    const limits = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 4 * 1024 * 1024 } as const;
    execFile(command, args, { ...limits, ...place }, (error, stdout, stderr) => {
      if (error === null) {
        resolve(stdout);
        return;
      }
      const output = stderr.trim() === '' ? stdout : stderr;
      const ending = error.killed === true ? `did not finish within ${timeoutMs} ms or printed too much` : endOf(error);
      reject(new StartError(`${command} ${ending}${output.trim() === '' ? '' : `: ${output.trim().slice(-2_000)}`}`));
    });
  });
}

/** Not `error.message`: it repeats the whole command line. */
function endOf(error: { readonly code?: string | number | null; readonly signal?: string | null }): string {
  if (typeof error.signal === 'string') {
    return `was ended by ${error.signal}`;
  }
  return typeof error.code === 'number'
    ? `failed with code ${error.code}`
    : `could not run (${error.code ?? 'unknown'})`;
}
