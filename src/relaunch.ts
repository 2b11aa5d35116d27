import { type ChildProcess, spawn } from 'node:child_process';
import process from 'node:process';

/**
 * Flags with which Node.js must be started; none of them can be set later. With semi-spaces of 32 MiB in place of 16 MiB,
 * objects that live for one attempt or one request do not get into the old generation of the heap. With source maps, stack
 * traces name the source files.
 */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=32', '--enable-source-maps'];

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;
type StopSignal = (typeof STOP_SIGNALS)[number];
/** The first message from a parent process that has started this process with NODE_FLAGS. */
const RELAUNCHED = 'webhooks-engine: relaunched';

/** The flags that neither the command line nor NODE_OPTIONS contains, with any value. */
export function missingFlags(execArgv: readonly string[], nodeOptions = ''): string[] {
  const nameOf = (flag: string) => (flag.split('=', 1)[0] ?? '').replaceAll('_', '-');
  const given = new Set([...execArgv, ...nodeOptions.split(/\s+/)].map(nameOf));
  return NODE_FLAGS.filter((flag) => !given.has(nameOf(flag)));
}

/**
 * Starts the program again with the missing flags. Returns false if no flag is missing. With Node.js 22.15 and newer, execve
 * replaces this process, and the function does not return. With older versions the program runs in a child process, and
 * the function returns true: the caller must do nothing. The child gets the signals of this process, this process exits
 * with the child's exit code, and the child ends when this process is killed.
 */
export function relaunch(): boolean {
  const missing = missingFlags(process.execArgv, process.env['NODE_OPTIONS']);
  // A program that runs from its TypeScript sources was started by a tool with Node.js flags of its own.
  if (missing.length === 0 || process.argv[1]?.endsWith('.ts') === true) return false;
  const args = [...missing, ...process.execArgv, ...process.argv.slice(1)];
  if (hasExecve(process)) process.execve(process.execPath, [process.execPath, ...args]);
  else supervise(spawn(process.execPath, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] }));
  return true;
}

type WithExecve = { execve(file: string, args: readonly string[]): never };

/** Node.js 20 and its types do not have `process.execve`. */
function hasExecve(candidate: object): candidate is WithExecve {
  return 'execve' in candidate && typeof candidate.execve === 'function';
}

function supervise(child: ChildProcess): void {
  // If a message cannot be sent, the child has ended.
  const send = (message: string) => child.send(message, () => undefined);
  send(RELAUNCHED);
  for (const signal of STOP_SIGNALS) process.on(signal, () => send(signal));
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    // Ends this process by the signal that killed the child. A shell reports this as an exit code above 128.
    for (const name of STOP_SIGNALS) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
  child.once('error', (error) => {
    process.stderr.write(`Node.js could not be restarted with ${NODE_FLAGS.join(' ')}: ${error.message}\n`, () =>
      process.exit(1),
    );
  });
}

/**
 * Resolves with the first signal to stop, SIGTERM or SIGINT. A second signal ends the process immediately. A service manager
 * or a terminal signals the parent process of relaunch() and this process together, so a signal and the copy that the
 * parent sends count as one signal.
 */
export function firstStopSignal(): Promise<StopSignal> {
  return new Promise((resolve) => {
    const onSignal = (signal: StopSignal) => {
      // After this, a signal has its default effect: it ends the process.
      for (const name of STOP_SIGNALS) process.off(name, onSignal);
      resolve(signal);
    };
    for (const name of STOP_SIGNALS) process.on(name, onSignal);
    let copies = 0;
    process.on('message', (message) => {
      if (message === RELAUNCHED) process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
      const signal = STOP_SIGNALS.find((name) => name === message);
      if (signal === undefined) return;
      copies += 1;
      if (copies > 1) process.exit(1);
      resolve(signal);
    });
  });
}
