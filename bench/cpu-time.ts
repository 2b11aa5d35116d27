import { readdir, readFile } from 'node:fs/promises';
import process from 'node:process';

/** In clock ticks, since the machine started. */
export type CpuTime = { readonly total: number; readonly busy: number; readonly ours: number };

export type CpuShares = { readonly oursPercent: number; readonly othersPercent: number };

/** What has been used of all cores, and by this process with all it has started; undefined where there is no /proc. */
export async function readCpuTime(): Promise<CpuTime | undefined> {
  if (process.platform !== 'linux') return undefined;
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  // user, nice, system, idle, iowait, irq, softirq, steal; what comes after is in these already (proc(5)).
  const times = line.split(/\s+/).slice(1, 9).map(Number);
  const total = times.reduce((sum, time) => sum + time, 0);
  return { total, busy: total - (times[3] ?? 0) - (times[4] ?? 0), ours: await readTicks(process.pid) };
}

/** Which part of all cores we took in between, and which the rest of the machine (or those it shares its cores with). */
export function cpuShares(from: CpuTime | undefined, to: CpuTime | undefined): CpuShares | undefined {
  if (from === undefined || to === undefined) return undefined;
  const percent = (ticks: number) => (100 * Math.max(0, ticks)) / (to.total - from.total);
  const ours = to.ours - from.ours;
  return { oursPercent: percent(ours), othersPercent: percent(to.busy - from.busy - ours) };
}

/** Clock ticks in a second, on every Linux that Node runs on (sysconf(_SC_CLK_TCK)). */
const TICKS = 100;

/** What the Postgres of this backend has used; undefined where there is no /proc. */
export async function postgresCpuSeconds(backendPid: number): Promise<number | undefined> {
  const backend = process.platform === 'linux' ? await readProcessTime(String(backendPid)) : undefined;
  return backend === undefined ? undefined : (await readTicks(backend.parent)) / TICKS;
}

type ProcessTime = { readonly pid: number; readonly parent: number; readonly ticks: number };

/** What a process and all it has started have used, in clock ticks. */
async function readTicks(root: number): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const processes = (await Promise.all(pids.map(readProcessTime))).filter((found) => found !== undefined);
  const ours = new Set([root]);
  let ticks = 0;
  // A set hands out what is added while it is gone through: the children of the children as well.
  for (const pid of ours) {
    for (const child of processes.filter(({ parent }) => parent === pid)) ours.add(child.pid);
    ticks += processes.find((found) => found.pid === pid)?.ticks ?? 0;
  }
  return ticks;
}

/** With the time of its children that have ended. */
async function readProcessTime(pid: string): Promise<ProcessTime | undefined> {
  // It may have ended since its name was read.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  // The fields after the name, which may hold anything: state, parent, …, and from the 12th on utime, stime, cutime, cstime.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, time) => sum + Number(time), 0);
  return { pid: Number(pid), parent: Number(fields[1]), ticks };
}
