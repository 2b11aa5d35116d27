import { parseTraceParent, type Span, type Tracing } from '../../lib/tracing.ts';
import type { DeliveryMessage } from '../queue/message.ts';
import type { NewAttempt } from './attempt.ts';

type TracedAttempt = { readonly delivery: DeliveryMessage; readonly url: string; readonly number: number };

/**
 * Starts the span of one attempt, as a child of the event's span. A retry has a link to the previous attempt: the span ids
 * derive from the delivery and the numbers of the attempts, so they need not be stored. The span omits the path and query of
 * the URL, because they often contain secrets.
 */
export function startAttemptSpan(
  tracing: Tracing | undefined,
  { delivery, url, number }: TracedAttempt,
): Span | undefined {
  if (tracing === undefined) return undefined;
  const { deliveryId, subscriptionId, tenant, eventId, eventType } = delivery;
  const { protocol, hostname, port } = new URL(url);
  const scheme = protocol.slice(0, -1);
  return tracing.start({
    name: 'POST',
    kind: 'client',
    parent: parseTraceParent(delivery.traceParent),
    key: attemptKey(deliveryId, number),
    linkedKey: number > 1 ? attemptKey(deliveryId, number - 1) : undefined,
    attributes: {
      'http.request.method': 'POST',
      'http.request.resend_count': number > 1 ? number - 1 : undefined,
      'server.address': hostname,
      'server.port': port === '' ? (scheme === 'https' ? 443 : 80) : Number(port),
      'url.scheme': scheme,
      'webhooks.tenant': tenant,
      'webhooks.event.id': eventId,
      'webhooks.event.type': eventType,
      'webhooks.subscription.id': subscriptionId,
      'webhooks.delivery.id': deliveryId,
      'webhooks.attempt': number,
    },
  });
}

export function endAttemptSpan(span: Span | undefined, attempt: NewAttempt): void {
  const { status, statusCode, failureReason, remoteAddress, payloadSizeBytes } = attempt;
  span?.end({
    attributes: {
      'http.response.status_code': statusCode ?? undefined,
      'http.request.body.size': payloadSizeBytes,
      'network.peer.address': remoteAddress ?? undefined,
    },
    error: status === 'SUCCESS' ? undefined : statusCode === null ? (failureReason ?? 'OTHER') : String(statusCode),
  });
}

function attemptKey(deliveryId: string, number: number): string {
  return `${deliveryId}:${number}`;
}
