import process from 'node:process';

/**
 * Milliseconds on the machine's monotonic clock, which all processes share. It is finer than Date.now(), and no clock
 * adjustment changes it during a measurement.
 */
export function clockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
