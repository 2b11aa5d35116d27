import type { IncomingMessage, ServerResponse } from 'node:http';
import process from 'node:process';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { isOneOf } from '../auth/credentials.ts';
import { VERSION } from '../lib/version.ts';

type MetricsPageOptions = {
  readonly metrics: Registry;
  /** Each key grants access. They need no lookup: metrics must be readable while Postgres is unavailable. */
  readonly keys: readonly string[];
};

/** Answers `GET /metrics` in Prometheus's text format; requires a key. */
export type MetricsPage = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export function createMetricsPage({ metrics, keys }: MetricsPageOptions): MetricsPage {
  const mayRead = isOneOf(keys);
  const processRegistry = processMetrics();
  return async (request, response) => {
    if (!mayRead(request.headers.authorization)) {
      response.writeHead(401, { 'content-type': 'text/plain; charset=utf-8', 'www-authenticate': 'Bearer' });
      response.end('send the header `Authorization: Bearer <METRICS_TOKEN or the admin key>`\n');
      return;
    }
    const [engine, runtime] = await Promise.all([metrics.metrics(), processRegistry.metrics()]);
    response.writeHead(200, { 'content-type': metrics.contentType, 'cache-control': 'no-store' });
    response.end(`${engine}\n${runtime}`);
  };
}

let registry: Registry | undefined;

/**
 * Version, memory, processor, event loop, garbage collection and handles of the process. All programs in one process share
 * this registry, because prom-client never releases its observers.
 */
function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
    new Gauge({
      registers: [registry],
      name: 'webhooks_build_info',
      labelNames: ['version', 'node'],
      help: 'Always 1; the labels say which version of this program runs, and on which version of Node.js',
    }).set({ version: VERSION, node: process.versions.node }, 1);
  }
  return registry;
}
