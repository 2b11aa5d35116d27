import { splitList } from '../lib/text.ts';
import { EXPORTERS, PROTOCOLS, SAMPLERS } from '../tracing/settings.ts';
import { oneOf, parseBoolean, parseHttpUrl, parseText } from './parsers.ts';
import { variable } from './table.ts';

/** The standard variables of OpenTelemetry. */
export const TRACING = {
  endpoint: variable('OTEL_EXPORTER_OTLP_ENDPOINT', {
    parse: parseHttpUrl,
    meaning:
      'Exports [traces](tracing.md) to this OpenTelemetry collector over HTTP, such as `http://collector:4318`. Unset: no traces, unless `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_TRACES_EXPORTER` turns them on.',
  }),
  tracesEndpoint: variable('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', {
    parse: parseHttpUrl,
    meaning: 'The complete URL for traces, in place of `OTEL_EXPORTER_OTLP_ENDPOINT` followed by `/v1/traces`.',
  }),
  exporter: variable('OTEL_TRACES_EXPORTER', {
    parse: oneOf(EXPORTERS),
    meaning:
      '`otlp` turns traces on; without an endpoint, they are sent to `http://localhost:4318`. `none` turns traces off.',
  }),
  isDisabled: variable('OTEL_SDK_DISABLED', {
    parse: parseBoolean,
    default: 'false',
    meaning: '`true` turns traces off.',
  }),
  headers: variable('OTEL_EXPORTER_OTLP_HEADERS', {
    parse: parsePairs,
    isSecret: true,
    fallback: () => ({}),
    meaning: 'Headers for the collector, such as its credentials: `name=value,name=value`, percent-encoded.',
  }),
  protocol: variable('OTEL_EXPORTER_OTLP_PROTOCOL', {
    parse: oneOf(PROTOCOLS),
    default: 'http/protobuf',
    meaning: '`http/protobuf` or `http/json`.',
  }),
  serviceName: variable('OTEL_SERVICE_NAME', {
    parse: parseText,
    default: 'webhooks-engine',
    meaning: 'The name of the service in traces.',
  }),
  resourceAttributes: variable('OTEL_RESOURCE_ATTRIBUTES', {
    parse: parsePairs,
    fallback: () => ({}),
    meaning: 'Further attributes of the service in traces: `deployment.environment.name=production,…`.',
  }),
  sampler: variable('OTEL_TRACES_SAMPLER', {
    parse: oneOf(SAMPLERS),
    default: 'parentbased_always_on',
    meaning:
      'The rule that selects the recorded traces: `parentbased_always_on`, `parentbased_always_off`, `parentbased_traceidratio`, `always_on`, `always_off` or `traceidratio`. The rules with `parentbased` follow the decision of the publisher, if there is one.',
  }),
  samplerRatio: variable('OTEL_TRACES_SAMPLER_ARG', {
    parse: parseRatio,
    default: '1',
    meaning: 'The fraction of the traces, from 0 to 1, that the rules with `traceidratio` record.',
  }),
};

function parseRatio(text: string): number {
  const ratio = Number(text);
  if (!/^[\d.]+$/.test(text) || !(ratio >= 0 && ratio <= 1)) throw new Error('must be a number from 0 to 1');
  return ratio;
}

/**
 * `name=value,name=value`, OpenTelemetry's format of headers and attributes, with percent-encoded values. The error message
 * never contains a value.
 */
function parsePairs(text: string): Readonly<Record<string, string>> {
  const pairs = splitList(text).map((item) => {
    const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(item) ?? [];
    if (name === '') throw new Error('must be pairs such as name=value, separated by commas');
    try {
      return [name.trim(), decodeURIComponent(value.trim())] as const;
    } catch {
      throw new Error(`has a value of ${JSON.stringify(name.trim())} that is not percent-encoded`);
    }
  });
  return Object.fromEntries(pairs);
}
