import { webhookBody } from '../src/delivery/sending/attempt.ts';
import { signingHeaders } from '../src/delivery/sending/request-auth.ts';
import { uuid7 } from '../src/lib/uuid7.ts';
import { generateSigningSecret } from '../src/subscriptions/secrets.ts';

export type FloorRequest = { readonly headers: Readonly<Record<string, string>>; readonly body: Buffer };

const BODY_BYTES = 1_024;

/** A request with the program's headers and a body of 1 KB. It is signed once for all requests of a loop. */
export function floorRequest(): FloorRequest {
  const now = Date.now();
  const eventId = uuid7(now);
  const bodyOf = (text: string) =>
    webhookBody({
      eventId,
      eventType: 'message.created',
      occurredAt: new Date(now).toISOString(),
      data: Buffer.from(JSON.stringify({ text })),
    });
  const body = bodyOf('x'.repeat(BODY_BYTES - bodyOf('').length));
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'webhooks-engine/0.1.0',
    ...signingHeaders({ secrets: [generateSigningSecret()], eventId, timestampSeconds: Math.floor(now / 1_000), body }),
    'webhook-event': 'message.created',
    'webhook-delivery': uuid7(now),
    'webhook-attempt': '1',
  };
  return { headers, body };
}
