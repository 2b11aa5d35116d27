import type { IncomingMessage, ServerResponse } from 'node:http';
import { VERSION } from '../lib/version.ts';

export type FrontPage = (request: IncomingMessage, response: ServerResponse) => void;

const GRAPHQL_LINES = [
  'POST /graphql      GraphQL, with the header "Authorization: Bearer <API key>"; live over WebSocket and SSE',
];
const OTHER_LINES = [
  'GET /health/live   whether the process runs',
  'GET /health/ready  whether it can do its work',
  'GET /metrics       Prometheus metrics, with the admin key or METRICS_TOKEN',
];
const DOCS = 'README.md and the folder docs of the source';

/** `GET /`: browsers are redirected to GraphiQL where there is one; otherwise a text says what this process answers. */
export function createFrontPage({ isApi, hasGraphiql }: { isApi: boolean; hasGraphiql: boolean }): FrontPage {
  const title = `webhooks-engine ${VERSION}${isApi ? '' : ' (this process has no role api, so there is no /graphql)'}`;
  const lines = [title, '', ...(isApi ? GRAPHQL_LINES : []), ...OTHER_LINES, '', `Documentation: ${DOCS}`];
  const text = `${lines.join('\n')}\n`;
  return ({ method = '', headers }, response) => {
    if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (isApi && hasGraphiql && headers.accept?.includes('text/html') === true) {
      // Relative: a proxy may have put a path in front.
      response.writeHead(302, { location: 'graphql', 'cache-control': 'no-store' }).end();
    } else {
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' }).end(text);
    }
  };
}
