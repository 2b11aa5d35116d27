import type { ServerResponse } from 'node:http';
import { Counter, type Registry } from 'prom-client';

const PATHS: ReadonlySet<string> = new Set(['/graphql', '/metrics', '/health', '/health/live', '/health/ready']);

/** To be called with each response and the path that was asked for; counts it when it has ended. */
export function createHttpCount(metrics: Registry): (response: ServerResponse, path: string) => void {
  const requests = new Counter({
    ...{ registers: [metrics], name: 'webhooks_http_requests_total', labelNames: ['path', 'code'] },
    help: 'HTTP requests, by the class of the status code; none: the client was gone before it was answered',
  });
  return (response, path) => {
    response.once('close', () => {
      const code = response.headersSent ? `${Math.floor(response.statusCode / 100)}xx` : 'none';
      requests.inc({ path: PATHS.has(path) ? path : 'other', code });
    });
  };
}
