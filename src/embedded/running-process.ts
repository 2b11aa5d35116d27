import { readdir, readFile } from 'node:fs/promises';
import { runCommand } from './run-command.ts';

/** A running process of this machine. Pids are reused; `pid` and `startedAt` together identify one process. */
export type RunningProcess = { readonly pid: number; readonly startedAt: string; readonly args: readonly string[] };

/** The process with this pid; undefined if none runs. A zombie process counts as ended. */
export async function readProcess(pid: number): Promise<RunningProcess | undefined> {
  if (process.platform === 'linux') {
    return readFromProc(pid);
  }
  return (await listWithPs(['-p', String(pid)])).find((running) => running.pid === pid);
}

/** All processes whose command line satisfies `matches`. */
export async function findProcesses(matches: (args: readonly string[]) => boolean): Promise<RunningProcess[]> {
  if (process.platform !== 'linux') {
    return (await listWithPs(['-A'])).filter((running) => matches(running.args));
  }
  const found: RunningProcess[] = [];
  for (const entry of await readdir('/proc')) {
    const running = /^\d+$/.test(entry) ? await readFromProc(Number(entry)) : undefined;
    if (running !== undefined && matches(running.args)) {
      found.push(running);
    }
  }
  return found;
}

export async function isStillRunning({ pid, startedAt }: RunningProcess): Promise<boolean> {
  return (await readProcess(pid))?.startedAt === startedAt;
}

/**
 * The format is that of proc(5): field 3 is the state and field 22 the start time. Field 2, the name in parentheses, may
 * contain spaces and parentheses, so fields are counted from its last parenthesis.
 */
async function readFromProc(pid: number): Promise<RunningProcess | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') {
      return undefined;
    }
    // The start time is relative to the boot, so it is unique only together with the boot's id.
    const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return { pid, startedAt: `${fields[19] ?? ''}-${bootId.slice(0, 8)}`, args: commandLine.split('\0').slice(0, -1) };
  } catch {
    return undefined;
  }
}

/**
 * For systems without /proc. An argument that contains a space is split here, so its process is not recognised. That is
 * safe, because only recognised processes are signalled.
 */
export async function listWithPs(selection: readonly string[]): Promise<RunningProcess[]> {
  const env = { LC_ALL: 'C', TZ: 'UTC', PATH: '/bin:/usr/bin' };
  const args = [...selection, '-o', 'pid=,stat=,lstart=,command='];
  const output = await runCommand({ command: 'ps', args, timeoutMs: 10_000, env }).catch(() => '');
  return output.split('\n').flatMap((line) => {
    const [, pid, stat, start, command] = /^\s*(\d+) +(\S+) +(\w+ +\w+ +\d+ +[\d:]+ +\d+) +(.*)$/.exec(line) ?? [];
    if (pid === undefined || start === undefined || command === undefined || stat?.startsWith('Z') === true) {
      return [];
    }
    return [{ pid: Number(pid), startedAt: start.replace(/[^\w]+/g, '-'), args: command.split(' ') }];
  });
}
