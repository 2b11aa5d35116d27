import { readdir, readFile, readlink } from 'node:fs/promises';
import process from 'node:process';

/** The kinds of processes that the bench starts, recognised by their command lines. */
const KINDS = {
  program: /\bdist\/[\w/-]+\.js/,
  Postgres: /\bpostgres\b/,
  'nats-server': /\bnats-server\b/,
  'redis-server': /\bredis-server\b/,
  worker: /\bbench\/bullmq-worker\.ts/,
  receiver: /\bbench\/receiver\.ts/,
  publisher: /\bbench\/(flood|flood-http|bullmq-producer)\.ts/,
} as const;

export type Kind = keyof typeof KINDS | 'bench';
type Usage = {
  /** CPU time since the processes started, including their children that have exited. */
  readonly cpuSeconds: number;
  /** Resident memory. Shared memory counts once (proc(5), Pss). */
  readonly memoryMiB: number;
};
export type Usages = Readonly<Partial<Record<Kind, Usage>>>;

/** `cpuSeconds` includes the process's children that have exited. */
type Process = { readonly pid: number; readonly parent: number; readonly cpuSeconds: number };

/** Clock ticks a second: sysconf(_SC_CLK_TCK) on every Linux that Node supports. */
export const TICKS = 100;

/** The usage of this process and its descendants, by kind; with a folder, only of those that work in it. Empty without /proc. */
export async function readUsages(folder?: string): Promise<Usages> {
  if (process.platform !== 'linux') return {};
  const usages: Partial<Record<Kind, Usage>> = {};
  for (const { pid, cpuSeconds } of await listOurs()) {
    if (folder !== undefined && !(await worksIn(pid, folder))) continue;
    const kind = await kindOf(pid);
    const { cpuSeconds: cpu, memoryMiB } = usages[kind] ?? { cpuSeconds: 0, memoryMiB: 0 };
    usages[kind] = { cpuSeconds: cpu + cpuSeconds, memoryMiB: memoryMiB + (await readMemory(pid)) };
  }
  return usages;
}

/** CPU seconds between two readings, by kind. */
export function cpuBetween(from: Usages, to: Usages): Readonly<Partial<Record<Kind, number>>> {
  const kinds = Object.keys(to) as Kind[]; // the keys that readUsages() sets
  return Object.fromEntries(kinds.map((kind) => [kind, (to[kind]?.cpuSeconds ?? 0) - (from[kind]?.cpuSeconds ?? 0)]));
}

/** This process and its descendants. */
export async function listOurs(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const processes = (await Promise.all(pids.map(readProcess))).filter((found) => found !== undefined);
  const ours = new Set([process.pid]);
  // Iterating a set also visits the entries added meanwhile, so the loop reaches all descendants.
  for (const pid of ours) {
    for (const child of processes.filter(({ parent }) => parent === pid)) ours.add(child.pid);
  }
  return processes.filter(({ pid }) => ours.has(pid));
}

async function readProcess(pid: string): Promise<Process | undefined> {
  // The process may have exited since readdir().
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  // The fields after the name, which may contain spaces and parentheses: state, parent, and from the 12th on utime,
  // stime, cutime, cstime.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, time) => sum + Number(time), 0);
  return { pid: Number(pid), parent: Number(fields[1]), cpuSeconds: ticks / TICKS };
}

/** The program and Postgres run in the folder of their stack; nats-server has its configuration there. */
async function worksIn(pid: number, folder: string): Promise<boolean> {
  const directory = await readlink(`/proc/${pid}/cwd`).catch(() => '');
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return directory.startsWith(folder) || commandLine.includes(folder);
}

async function kindOf(pid: number): Promise<Kind> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  // Postgres's children set their command line to their task: `postgres: checkpointer`.
  const kinds = Object.entries(KINDS) as [keyof typeof KINDS, RegExp][]; // the type of Object.entries() has string keys
  return kinds.find(([, pattern]) => pattern.test(commandLine.replaceAll('\0', ' ')))?.[0] ?? 'bench';
}

async function readMemory(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) / 1024;
}
