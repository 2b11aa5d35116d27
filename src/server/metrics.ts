import type { IncomingMessage, ServerResponse } from 'node:http';
import process from 'node:process';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { isOneOf } from '../auth/credentials.ts';
import { VERSION } from '../lib/version.ts';

type MetricsPageOptions = {
  readonly metrics: Registry;
  /** Each opens it. Known without Postgres: it is when that is away that the metrics are wanted. */
  readonly keys: readonly string[];
};

/** Answers `GET /metrics` in Prometheus's text format; to nobody without a key. */
export type MetricsPage = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export function createMetricsPage({ metrics, keys }: MetricsPageOptions): MetricsPage {
  const mayRead = isOneOf(keys);
  const ofProcess = processMetrics();
  return async (request, response) => {
    if (!mayRead(request.headers.authorization)) {
      response.writeHead(401, { 'content-type': 'text/plain; charset=utf-8', 'www-authenticate': 'Bearer' });
      response.end('send the header `Authorization: Bearer <METRICS_TOKEN or the admin key>`\n');
      return;
    }
    const [ours, theirs] = await Promise.all([metrics.metrics(), ofProcess.metrics()]);
    response.writeHead(200, { 'content-type': metrics.contentType, 'cache-control': 'no-store' });
    response.end(`${ours}\n${theirs}`);
  };
}

let registry: Registry | undefined;

/**
 * Version, memory, processor, event loop, garbage collection, handles: of the process, of which there is one, whatever runs in it.
 * Hence one registry, which all programs in it share: what the library observes with, it never lets go of.
 */
function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
    new Gauge({
      ...{ registers: [registry], name: 'webhooks_build_info', labelNames: ['version', 'node'] },
      help: 'Always 1; the labels say which version of this program runs, and on which version of Node.js',
    }).set({ version: VERSION, node: process.versions.node }, 1);
  }
  return registry;
}
