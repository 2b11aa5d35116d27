/** Minimum CPU time of `times` runs, in milliseconds. Unlike elapsed time, it does not depend on the load of the machine. */
export function leastCpuMs(work: () => void, times = 3): number {
  const runs = Array.from({ length: times }, () => {
    const began = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1_000;
  });
  return Math.min(...runs);
}
