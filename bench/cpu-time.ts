import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { listOurs, TICKS } from './processes.ts';

/** In seconds, since the machine started. */
export type CpuTime = { readonly total: number; readonly busy: number; readonly ours: number };

export type CpuShares = { readonly oursPercent: number; readonly othersPercent: number };

/** What has been used of all cores, and by this process with all it has started; undefined where there is no /proc. */
export async function readCpuTime(): Promise<CpuTime | undefined> {
  if (process.platform !== 'linux') return undefined;
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  // user, nice, system, idle, iowait, irq, softirq, steal; what comes after is in these already (proc(5)).
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

/** Which part of all cores we took in between, and which the rest of the machine (or those it shares its cores with). */
export function cpuShares(from: CpuTime | undefined, to: CpuTime | undefined): CpuShares | undefined {
  if (from === undefined || to === undefined) return undefined;
  const percent = (seconds: number) => (100 * Math.max(0, seconds)) / (to.total - from.total);
  const ours = to.ours - from.ours;
  return { oursPercent: percent(ours), othersPercent: percent(to.busy - from.busy - ours) };
}
