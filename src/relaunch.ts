import { type ChildProcess, spawn } from 'node:child_process';
import process from 'node:process';

/**
 * Flags that Node.js has to be started with; none of them can be set later. Semi-spaces of 32 MiB in place of 16 keep what lives
 * for one attempt or one request out of the old generation, and source maps make stack traces name the sources.
 */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=32', '--enable-source-maps'];

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;
type StopSignal = (typeof STOP_SIGNALS)[number];
/** The first message from the process that started this one for the sake of the flags. */
const RELAUNCHED = 'webhooks-engine: relaunched';

/** The flags that neither the command line nor NODE_OPTIONS has, whatever their value there. */
export function missingFlags(execArgv: readonly string[], nodeOptions = ''): string[] {
  const nameOf = (flag: string) => (flag.split('=', 1)[0] ?? '').replaceAll('_', '-');
  const given = new Set([...execArgv, ...nodeOptions.split(/\s+/)].map(nameOf));
  return NODE_FLAGS.filter((flag) => !given.has(nameOf(flag)));
}

/**
 * Runs this program again with the flags that this process was started without, and never resolves; returns false when it
 * has them all. Where Node.js can (22.15 and newer), the program takes this process over; otherwise it runs
 * in a child that gets the signals of this process, ends this process with its own exit code, and does not outlive it.
 */
export function relaunch(): boolean {
  const missing = missingFlags(process.execArgv, process.env['NODE_OPTIONS']);
  // From its sources it runs under a tool that starts Node.js with flags of its own.
  if (missing.length === 0 || process.argv[1]?.endsWith('.ts') === true) return false;
  const args = [...missing, ...process.execArgv, ...process.argv.slice(1)];
  if (hasExecve(process)) process.execve(process.execPath, [process.execPath, ...args]);
  else supervise(spawn(process.execPath, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] }));
  return true;
}

type WithExecve = { execve(file: string, args: readonly string[]): never };

/** Not in the types of Node.js 20. */
function hasExecve(candidate: object): candidate is WithExecve {
  return 'execve' in candidate && typeof candidate.execve === 'function';
}

function supervise(child: ChildProcess): void {
  // A signal that cannot be sent is for a child that has ended.
  const send = (message: string) => child.send(message, () => undefined);
  send(RELAUNCHED);
  for (const signal of STOP_SIGNALS) process.on(signal, () => send(signal));
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    // As the child ended; a shell says so by a code above 128.
    for (const name of STOP_SIGNALS) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
  child.once('error', (error) => {
    process.stderr.write(`Node.js could not be started again with ${NODE_FLAGS.join(' ')}: ${error.message}\n`, () =>
      process.exit(1),
    );
  });
}

/**
 * Resolves with the first signal that asks this process to stop. A second one ends it at once. A service manager or a terminal
 * signals the relaunching process and this one together, so that both a signal and its copy count as one.
 */
export function firstStopSignal(): Promise<StopSignal> {
  return new Promise((resolve) => {
    const onSignal = (signal: StopSignal) => {
      // Afterwards a signal does what it does by default.
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
