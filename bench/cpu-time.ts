import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { listOurs, TICKS } from './processes.ts';

/** CPU time of all cores, in seconds since the machine started. `ours` is the bench and the processes it started. */
export type CpuTime = { readonly total: number; readonly busy: number; readonly ours: number };

export type CpuShares = { readonly oursPercent: number; readonly othersPercent: number };

/** Reads the CPU time of the machine and of the bench's processes. Undefined without /proc. */
export async function readCpuTime(): Promise<CpuTime | undefined> {
  if (process.platform !== 'linux') return undefined;
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  // user, nice, system, idle, iowait, irq, softirq, steal. The later fields are included in user and nice (proc(5)).
  const times = line
    .split(/\s+/)
    .slice(1, 9)
    .map((ticks) => Number(ticks) / TICKS);
  const total = times.reduce((sum, time) => sum + time, 0);
  return {
    total,
    busy: total - (times[3] ?? 0) - (times[4] ?? 0),
    ours: (await listOurs()).reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
  };
}

/** Shares of all cores between two readings: ours, and those of other programs and of the machine's host. */
export function cpuShares(from: CpuTime | undefined, to: CpuTime | undefined): CpuShares | undefined {
  if (from === undefined || to === undefined) return undefined;
  const percent = (seconds: number) => (100 * Math.max(0, seconds)) / (to.total - from.total);
  const ours = to.ours - from.ours;
  return { oursPercent: percent(ours), othersPercent: percent(to.busy - from.busy - ours) };
}
