/**
 * The interface between tracing and the other parts, which receive a `Tracing | undefined`: without tracing there is no
 * tracer to call, and the OpenTelemetry packages are not loaded. `src/tracing` implements it.
 */
export type Tracing = {
  /** Starts a span. `end` must be called on it. */
  start(span: NewSpan): Span;
};

export type NewSpan = {
  readonly name: string;
  readonly kind: 'consumer' | 'producer' | 'client';
  /**
   * `traceparent` of the parent; undefined: this span starts a new trace, and the sampler decides whether it is
   * recorded.
   */
  readonly parent: string | undefined;
  /**
   * A text from which the span's id is derived, so that a later span of the trace, also in another process, can link to
   * this one by the key alone. Default: a random id.
   */
  readonly key?: string;
  /** The key of an earlier span of the same trace, to which this one is linked. */
  readonly linkedKey?: string | undefined;
  readonly attributes: SpanAttributes;
};

export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

export type Span = {
  /** The `traceparent` of the span, for the next service. Its last two digits say whether the trace is recorded. */
  readonly traceParent: string;
  /** `error`: what failed, as a short name without customer data; undefined: nothing failed. */
  end(result?: { readonly attributes?: SpanAttributes; readonly error?: string | undefined }): void;
};

/** Version, trace id, span id and flags. All-zero ids are invalid; versions after 00 may add fields after a hyphen. */
const TRACE_PARENT = /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-|$)/;
/** Maximum characters that are parsed: the length of version 00, and one more. */
const MAX_LENGTH = 56;

/**
 * Parses the header `traceparent` (W3C Trace Context, 3.2) and returns it in the form of version 00, which has 55
 * characters; undefined if it is invalid. Of its flags only `sampled` is kept.
 */
export function parseTraceParent(text = ''): string | undefined {
  const [, version, traceId, spanId, flags = '', end] = TRACE_PARENT.exec(text.slice(0, MAX_LENGTH)) ?? [];
  if (traceId === undefined || spanId === undefined || (version === '00' && end !== '')) return undefined;
  return formatTraceParent({ traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 });
}

export type TracePosition = { readonly traceId: string; readonly spanId: string; readonly isSampled: boolean };

export function formatTraceParent({ traceId, spanId, isSampled }: TracePosition): string {
  return `00-${traceId}-${spanId}-0${isSampled ? 1 : 0}`;
}

/** Parses a text that parseTraceParent returned. */
export function readTraceParent(traceParent: string): TracePosition {
  const [, traceId = '', spanId = '', flags = ''] = traceParent.split('-');
  return { traceId, spanId, isSampled: flags === '01' };
}

/** The fields of a log line that name a position in a trace, as OpenTelemetry names them in log formats other than OTLP. */
export function traceFields(traceParent: string | undefined): Readonly<Record<string, string>> {
  if (traceParent === undefined) return {};
  const { traceId, spanId, isSampled } = readTraceParent(traceParent);
  return { trace_id: traceId, span_id: spanId, trace_flags: isSampled ? '01' : '00' };
}
