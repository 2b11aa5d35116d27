import process from 'node:process';

/**
 * Milliseconds on the machine's monotonic clock, the same in every process: finer than Date.now(), and nobody sets it
 * while a measurement runs.
 */
export function clockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
