import { execFile } from 'node:child_process';
import { StartError } from '../lib/start-error.ts';

export type RunCommandOptions = {
  readonly command: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly cwd?: string;
  /** The complete environment of the command; by default that of this process. */
  readonly env?: Readonly<Record<string, string>>;
};

/** Runs a command and returns its output. If it fails, throws a StartError with the last 2,000 characters of its errors. */
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

/** In place of `error.message`, which repeats the command line. */
function endOf(error: { readonly code?: string | number | null; readonly signal?: string | null }): string {
  if (typeof error.signal === 'string') {
    return `was killed by ${error.signal}`;
  }
  return typeof error.code === 'number'
    ? `failed with code ${error.code}`
    : `could not run (${error.code ?? 'unknown'})`;
}
