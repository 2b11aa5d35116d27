import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Answers `POST /sink?until=<unix seconds>`, the target of temporary webhook subscriptions: 204 until that time, and
 * 410 afterwards. A 410 makes the engine deactivate a subscription that was not deleted. The body is discarded.
 */
export function answerSink(request: IncomingMessage, response: ServerResponse, nowMs = Date.now()): void {
  // Node.js reads the rest of the body and drops it.
  request.resume();
  if (request.method !== 'POST') {
    response.writeHead(405, { allow: 'POST' }).end();
    return;
  }
  const until = Number(new URLSearchParams(request.url?.split('?')[1]).get('until'));
  response.writeHead(until * 1_000 > nowMs ? 204 : 410).end();
}
