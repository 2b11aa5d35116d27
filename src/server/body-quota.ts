import type { IncomingMessage, ServerResponse } from 'node:http';
import { createConcurrencyQuota } from '../auth/quota.ts';
import type { Viewer } from '../auth/viewer.ts';
import { onceOver } from './once-over.ts';

/** Maximum request body: an escaped sendTestEvent of 1 MiB fits. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** Bytes of the bodies of all requests that are not answered, including what has not arrived yet. */
const MAX_BYTES = 128 * 1024 * 1024;
/** The part of the free bytes that a tenant may use: 25 MiB of all if it is alone, and always less than what is free. */
const TENANT_SHARE = 1 / 4;

/**
 * Counts the body of a request until it is answered. Returns a function to call with the body, because a request can leave
 * its size open; undefined if the viewer's tenant, or all together, would have too much.
 */
export type HoldBody = (
  viewer: Viewer,
  request: IncomingMessage,
  response: ServerResponse,
) => ((body: string) => void) | undefined;

export function createBodyQuota(): HoldBody {
  const quota = createConcurrencyQuota({ max: MAX_BYTES, maxPerTenant: (free) => free * TENANT_SHARE });
  return (viewer, request, response) => {
    const bytes = statedBytes(request);
    if (bytes === 0) return () => undefined;
    const permit = quota.take(viewer, bytes ?? MAX_BODY_BYTES);
    if (permit === undefined) return undefined;
    onceOver(response, permit.release);
    return (body) => {
      if (bytes === undefined) permit.shrinkTo(Buffer.byteLength(body));
    };
  };
}

/** Undefined if the body is chunked. */
function statedBytes({ headers }: IncomingMessage): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return undefined;
  return Math.min(MAX_BODY_BYTES, Number(headers['content-length'] ?? 0));
}
