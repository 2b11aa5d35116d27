import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { readArguments } from './command-line.ts';
import { relaunch } from './relaunch.ts';
import { StartError } from './lib/start-error.ts';
import { isNodeTooOld, OLDEST_NODE } from './lib/version.ts';

/** Loading the program takes some 300; the rest is for connections. */
const FEWEST_OPEN_FILES = 512;

// The imports of this file run on any Node.js, before the packages are loaded.
const command = readArguments(process.argv.slice(2));
if (command.kind === 'print') end(command.text, command.exitCode);
else if (isNodeTooOld(process.versions.node)) {
  end(`This is Node.js ${process.versions.node}: install ${OLDEST_NODE} or newer.`, 1);
} else if (maxOpenFiles() < FEWEST_OPEN_FILES) {
  end(`Only ${maxOpenFiles()} files may be open at a time: raise the limit (ulimit -n) to 1024 or more.`, 1);
} else if (!relaunch()) await run();

/** Node.js has raised it to what the system allows it. */
function maxOpenFiles(): number {
  const limits = existsSync('/proc/self/limits') ? readFileSync('/proc/self/limits', 'utf8') : '';
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
}

/** Expected failures are printed as one sentence; anything else is a bug and keeps its stack. */
async function run(): Promise<void> {
  try {
    const { runProgram } = await import('./program.ts');
    await runProgram();
    // Whatever did not let go (a connection to a Postgres that hangs) does not keep the program up.
    process.exit(0);
  } catch (error) {
    const reason = explain(error);
    if (reason === undefined) throw error;
    end(reason, 1);
  }
}

function explain(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof StartError) return error.message;
  const isPackageMissing = 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' && /package '/.test(error.message);
  return isPackageMissing ? 'A package that the program needs is not installed: run "npm ci".' : undefined;
}

function end(text: string, exitCode: number): void {
  const stream = exitCode === 0 ? process.stdout : process.stderr;
  stream.write(`${text}\n`, () => process.exit(exitCode));
}
