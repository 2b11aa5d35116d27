import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { StartError } from './lib/start-error.ts';
import { isNodeTooOld, OLDEST_NODE, VERSION } from './lib/version.ts';
import { relaunch } from './relaunch.ts';

/** Loading the program takes some 300; the rest is for connections. */
const FEWEST_OPEN_FILES = 512;

// The imports of this file run on any Node.js and need no package.
const command = readArguments(process.argv.slice(2));
if (command.kind === 'print') end(command.text, command.exitCode);
else if (command.kind === 'help') await help();
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

function help(): Promise<void> {
  return explainFailures(async () => {
    const { renderHelp } = await import('./config/help.ts');
    end(renderHelp(), 0);
  });
}

function run(): Promise<void> {
  return explainFailures(async () => {
    const { runProgram } = await import('./program.ts');
    await runProgram();
    // An open handle (a connection to a Postgres that hangs) must not keep the process running.
    process.exit(0);
  });
}

/** Expected failures are printed as one sentence; anything else is a bug and keeps its stack. */
async function explainFailures(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const reason = explain(error);
    if (reason === undefined) throw error;
    end(reason, 1);
  }
}

function explain(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof StartError) return error.message;
  // Node.js names a missing file in `url`, and only the package where a whole package is missing.
  const isPackageMissing = 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' && !('url' in error);
  return isPackageMissing ? 'A package that the program needs is not installed: run "npm ci".' : undefined;
}

function end(text: string, exitCode: number): void {
  const stream = exitCode === 0 ? process.stdout : process.stderr;
  stream.write(`${text}\n`, () => process.exit(exitCode));
}

/** The command that the arguments give: run, print the help, or print a text and end with an exit code. */
type Command =
  | { readonly kind: 'run' | 'help' }
  | { readonly kind: 'print'; readonly text: string; readonly exitCode: 0 | 1 };

/** Reads the arguments after the script's name. Nothing but the name of an unknown one is repeated: its value may be a secret. */
export function readArguments(args: readonly string[]): Command {
  const unknown = args.find((arg) => !['--help', '-h', '--version', '-v'].includes(arg));
  if (unknown !== undefined) return { kind: 'print', text: describeUnknown(unknown), exitCode: 1 };
  const [first] = args;
  if (first === undefined) return { kind: 'run' };
  if (first === '--help' || first === '-h') return { kind: 'help' };
  return { kind: 'print', text: `webhooks-engine ${VERSION}`, exitCode: 0 };
}

function describeUnknown(arg: string): string {
  const [, variable] = /^-{0,2}([A-Z][A-Z0-9_]*)=/.exec(arg) ?? [];
  if (variable !== undefined) {
    return `${variable} is an environment variable, not an argument: set it before the command (${variable}=… node dist/main.js).`;
  }
  const [name = ''] = /^-{0,2}\w[\w-]{0,39}(?=$|=)/.exec(arg) ?? [];
  const what = name === '' ? 'There is an unknown argument' : `The argument ${name} is unknown`;
  return `${what}: everything is set by environment variables, which --help lists.`;
}
