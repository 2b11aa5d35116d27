/** Settings from OpenTelemetry's standard variables that the engine itself reads. */
export type TracingSettings = {
  /** `otlp` turns tracing on, `none` turns it off; undefined: it is on if an endpoint is set. */
  readonly exporter: (typeof EXPORTERS)[number] | undefined;
  readonly isDisabled: boolean;
  /** The base URL of a collector. */
  readonly endpoint: string | undefined;
  /** The complete URL for traces. Replaces `endpoint`. */
  readonly tracesEndpoint: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly protocol: (typeof PROTOCOLS)[number];
  readonly serviceName: string;
  readonly resourceAttributes: Readonly<Record<string, string>>;
  readonly sampler: (typeof SAMPLERS)[number];
  /** From 0 to 1. Only samplers with `traceidratio` in their names use it. */
  readonly samplerRatio: number;
};

export const EXPORTERS = ['otlp', 'none'] as const;
export const PROTOCOLS = ['http/protobuf', 'http/json'] as const;
export const SAMPLERS = [
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
  'always_on',
  'always_off',
  'traceidratio',
] as const;

export function isTracingOn({ exporter, isDisabled, endpoint, tracesEndpoint }: TracingSettings): boolean {
  if (isDisabled || exporter === 'none') return false;
  return exporter === 'otlp' || endpoint !== undefined || tracesEndpoint !== undefined;
}
