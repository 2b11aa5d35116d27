import { createHash } from 'node:crypto';
import { type Context, type Link, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  RandomIdGenerator,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Logger } from 'pino';
import { createLogThrottle } from '../lib/log.ts';
import { formatTraceParent, type NewSpan, readTraceParent, type Span } from '../lib/tracing.ts';
import { VERSION } from '../lib/version.ts';
import { waitAtMost } from '../lib/waiting.ts';
import type { TracingSettings } from './settings.ts';
import type { RunningTracing } from './start.ts';

/** Maximum milliseconds for exporting the last spans when the program stops. */
const STOP_WITHIN_MS = 3_000;
const LOG_INTERVAL_MS = 30_000;
/** Maximum spans queued for the exporter, about 1 KB each. The SDK drops further spans. */
const MAX_QUEUED_SPANS = 8_192;

const KINDS: Readonly<Record<NewSpan['kind'], SpanKind>> = {
  consumer: SpanKind.CONSUMER,
  producer: SpanKind.PRODUCER,
  client: SpanKind.CLIENT,
};

/**
 * Tracing with OpenTelemetry's SDK, without its global tracer and its context manager: positions in traces are passed as
 * `traceparent`, because they are also stored in Postgres and JetStream.
 */
export function createTracing(settings: TracingSettings, log: Logger): RunningTracing {
  const ids = new KeyedIds();
  const provider = new TracerProvider({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'service.version': VERSION,
        ...settings.resourceAttributes,
        'service.name': settings.serviceName,
      }),
    ),
    sampler: createSampler(settings),
    idGenerator: ids,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: reportFailures(createExporter(settings), log),
        maxQueueSize: MAX_QUEUED_SPANS,
      }),
    ],
  });
  const tracer = provider.getTracer('webhooks-engine', VERSION);

  const isParentBased = settings.sampler.startsWith('parentbased');

  function start({ name, kind, parent, key, linkedKey, attributes }: NewSpan): Span {
    // For an unsampled parent the SDK would create a non-recording span, which costs half as much as a recording one.
    if (parent !== undefined && isParentBased && !readTraceParent(parent).isSampled) {
      return { traceParent: parent, end: () => undefined };
    }
    ids.use(key);
    const links = parent === undefined || linkedKey === undefined ? [] : [linkTo(parent, linkedKey)];
    const span = tracer.startSpan(name, { kind: KINDS[kind], attributes: { ...attributes }, links }, contextOf(parent));
    const { traceId, spanId, traceFlags } = span.spanContext();
    return {
      traceParent: formatTraceParent({ traceId, spanId, isSampled: (traceFlags & TraceFlags.SAMPLED) !== 0 }),
      end: ({ attributes: last, error } = {}) => {
        if (last !== undefined) span.setAttributes({ ...last });
        if (error !== undefined) {
          span.setAttribute('error.type', error);
          span.setStatus({ code: SpanStatusCode.ERROR });
        }
        span.end();
      },
    };
  }
  return {
    start,
    stop: (leftMs) =>
      waitAtMost(
        Math.min(STOP_WITHIN_MS, leftMs),
        provider.shutdown().catch(() => undefined),
      ),
  };
}

function contextOf(traceParent: string | undefined): Context {
  if (traceParent === undefined) return ROOT_CONTEXT;
  const { traceId, spanId, isSampled } = readTraceParent(traceParent);
  const traceFlags = isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

function linkTo(parent: string, key: string): Link {
  const { traceId, isSampled } = readTraceParent(parent);
  return { context: { traceId, spanId: spanIdOf(key), traceFlags: isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE } };
}

/** 8 bytes in hexadecimal. All zeros would be invalid, but are as improbable as a hash collision. */
function spanIdOf(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16);
}

/** Generates random ids, or the id of the key last passed to `use`. startSpan calls the generator synchronously. */
class KeyedIds extends RandomIdGenerator {
  #key: string | undefined;

  constructor() {
    super();
    const random = this.generateSpanId;
    this.generateSpanId = () => (this.#key === undefined ? random() : spanIdOf(this.#key));
  }

  use(key: string | undefined): void {
    this.#key = key;
  }
}

function createSampler({ sampler, samplerRatio }: TracingSettings): Sampler {
  switch (sampler) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'always_off':
      return new AlwaysOffSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(samplerRatio);
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(samplerRatio) });
  }
}

/** The exporters themselves read the other variables with OTEL_EXPORTER_OTLP_: docs/tracing.md lists them. */
function createExporter({ protocol, endpoint, tracesEndpoint, headers }: TracingSettings): SpanExporter {
  const base = endpoint ?? 'http://localhost:4318';
  const options = { url: tracesEndpoint ?? `${base.replace(/\/+$/, '')}/v1/traces`, headers: { ...headers } };
  return protocol === 'http/json' ? new JsonExporter(options) : new ProtobufExporter(options);
}

/** Logs failed exports to the program's log. The SDK reports them only to its global logger. */
function reportFailures(exporter: SpanExporter, log: Logger): SpanExporter {
  const failures = createLogThrottle(LOG_INTERVAL_MS);
  return {
    export: (spans, onResult) => {
      exporter.export(spans, (result) => {
        const code: number = result.code;
        const failureCount = code === 0 ? undefined : failures.note();
        if (failureCount !== undefined) {
          log.warn({ err: result.error, failureCount, spans: spans.length }, 'traces not exported');
        }
        onResult(result);
      });
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  };
}
