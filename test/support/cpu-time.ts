/** Least CPU time of `times` runs, in milliseconds. On a busy machine a run takes longer by the clock, not in CPU time. */
export function leastCpuMs(work: () => void, times = 3): number {
  const runs = Array.from({ length: times }, () => {
    const began = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1_000;
  });
  return Math.min(...runs);
}
