import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { isOneOf } from '../auth/auth.ts';
import { processMetrics } from './process-metrics.ts';

export type MetricsPageOptions = {
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
