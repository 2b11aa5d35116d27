import type { IncomingMessage, ServerResponse } from 'node:http';
import process from 'node:process';
import { AggregatorRegistry, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { isOneOf } from '../auth/credentials.ts';
import { VERSION } from '../lib/version.ts';

type MetricsPageOptions = {
  readonly metrics: Registry;
  /** Each key grants access without a lookup, so that metrics can be read while Postgres is unavailable. */
  readonly keys: readonly string[];
  /** Reads the metric values of the worker processes. */
  readonly workerMetrics?: (() => Promise<readonly MetricValues[]>) | undefined;
};

/**
 * Milliseconds between samples of the event loop's lag. prom-client's default of 10 ms wakes an idle process a hundred
 * times a second.
 */
const LAG_SAMPLE_MS = 100;

/** Answers `GET /metrics` in Prometheus's text format; requires a key. */
export type MetricsPage = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export function createMetricsPage({ metrics, keys, workerMetrics }: MetricsPageOptions): MetricsPage {
  const mayRead = isOneOf(keys);
  const processRegistry = processMetrics();
  return async (request, response) => {
    if (!mayRead(request.headers.authorization)) {
      response.writeHead(401, { 'content-type': 'text/plain; charset=utf-8', 'www-authenticate': 'Bearer' });
      response.end('send the header `Authorization: Bearer <METRICS_TOKEN or the admin key>`\n');
      return;
    }
    const body =
      workerMetrics === undefined
        ? (await Promise.all([metrics.metrics(), processRegistry.metrics()])).join('\n')
        : await mergedMetrics([metrics, processRegistry], workerMetrics);
    response.writeHead(200, { 'content-type': metrics.contentType, 'cache-control': 'no-store' });
    response.end(body);
  };
}

/** The values of one registry, as prom-client exports them. */
export type MetricValues = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

async function mergedMetrics(
  own: readonly Registry[],
  workerMetrics: () => Promise<readonly MetricValues[]>,
): Promise<string> {
  const [workers, ...values] = await Promise.all([
    workerMetrics(),
    ...own.map((registry) => registry.getMetricsAsJSON()),
  ]);
  return mergeMetrics([values.flat(), ...workers]).metrics();
}

/** Adds up the values of several processes; gauges are combined by their `aggregator`. */
export function mergeMetrics(values: readonly MetricValues[]): Registry {
  return AggregatorRegistry.aggregate([...values]);
}

let registry: Registry | undefined;

/**
 * Version, memory, processor, event loop, garbage collection and handles of the process. All programs in one process share
 * this registry, because prom-client never releases its observers.
 */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LAG_SAMPLE_MS });
    new Gauge({
      registers: [registry],
      name: 'webhooks_build_info',
      labelNames: ['version', 'node'],
      aggregator: 'first',
      help: 'Always 1; the labels say which version of this program runs, and on which version of Node.js',
    }).set({ version: VERSION, node: process.versions.node }, 1);
  }
  return registry;
}
