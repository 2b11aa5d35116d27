#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { EXIT, type Invocation, readArguments } from './cli/arguments.ts';
import type { CommandName } from './cli/commands.ts';
import { StartError } from './lib/start-error.ts';
import { isNodeTooOld, OLDEST_NODE } from './lib/version.ts';
import { relaunch } from './relaunch.ts';

/** Minimum for the limit of open files. Loading the program opens about 300 files; connections need the rest. */
const MIN_OPEN_FILES = 512;

// The imports of this file run on every version of Node.js and need no npm package.
const invocation = readArguments(process.argv.slice(2));
// The main process has forked this process (workers/worker-process.ts). The argument is internal.
if (process.argv[2] === 'worker' && process.connected) await import('./workers/main.ts');
else if (invocation.kind === 'print') end(invocation.text, invocation.exitCode);
else if (invocation.kind === 'help') await help(invocation.command);
else if (isNodeTooOld(process.versions.node)) {
  end(`This is Node.js ${process.versions.node}: install ${OLDEST_NODE} or newer.`, EXIT.failed);
} else if (invocation.command !== 'start') await runOther(invocation);
else if (maxOpenFiles() < MIN_OPEN_FILES) {
  const text = `Only ${maxOpenFiles()} files may be open at a time: raise the limit (ulimit -n) to 1024 or more.`;
  end(text, EXIT.failed);
} else if (!relaunch()) await start();

/** The limit of open files. Node.js raises the soft limit to the hard limit when it starts. */
function maxOpenFiles(): number {
  const limits = existsSync('/proc/self/limits') ? readFileSync('/proc/self/limits', 'utf8') : '';
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
}

function help(command: CommandName | undefined): Promise<void> {
  return explainFailures(async () => {
    const { renderCommandHelp, renderHelp } = await import('./cli/help.ts');
    end(command === undefined ? renderHelp() : renderCommandHelp(command), EXIT.done);
  });
}

function start(): Promise<void> {
  return explainFailures(async () => {
    const { runProgram } = await import('./program.ts');
    await runProgram();
    // Otherwise an open handle, such as a connection to a stalled Postgres, would keep the process running.
    process.exit(EXIT.done);
  });
}

function runOther({ command, values, positionals }: Extract<Invocation, { readonly kind: 'run' }>): Promise<void> {
  return explainFailures(async () => {
    if (command === 'start') return;
    const { runCommand } = await import('./cli/run.ts');
    // `as`: node:util has parsed the values with the options of this command.
    const exitCode = await runCommand(command, { values: values as Record<string, never>, positionals });
    process.stdout.write('', () => process.exit(exitCode));
  });
}

/** Prints an expected failure as one sentence and exits. Other errors are bugs: they are thrown with their stack. */
async function explainFailures(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const reason = explain(error);
    if (reason === undefined) throw error;
    end(reason, EXIT.failed);
  }
}

function explain(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof StartError) return error.message;
  // For a missing file Node.js sets `url`; for a missing package it does not.
  const isPackageMissing = 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' && !('url' in error);
  return isPackageMissing ? 'A package that the program needs is not installed: run "npm ci".' : undefined;
}

function end(text: string, exitCode: number): void {
  const stream = exitCode === 0 ? process.stdout : process.stderr;
  stream.write(`${text}\n`, () => process.exit(exitCode));
}
