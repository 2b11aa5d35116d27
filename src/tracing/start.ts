import type { Logger } from 'pino';
import type { Tracing } from '../lib/tracing.ts';
import { isTracingOn, type TracingSettings } from './settings.ts';

export type RunningTracing = Tracing & {
  /** Exports the last spans, within `leftMs` milliseconds and 3 s. */
  stop(leftMs: number): Promise<void>;
};

/** Loads OpenTelemetry if the settings turn tracing on; otherwise resolves with undefined. */
export async function startTracing(settings: TracingSettings, log: Logger): Promise<RunningTracing | undefined> {
  if (!isTracingOn(settings)) return undefined;
  const { createTracing } = await import('./opentelemetry.ts');
  return createTracing(settings, log);
}
