import type { JsMsg } from 'nats';
import { parseTraceParent, type Span, type SpanAttributes, type Tracing } from '../lib/tracing.ts';
import { type ParsedEvent, type Rejection, toIncomingMessage } from './parse.ts';
import type { NewEvent } from './store.ts';
import type { MatchedEvent } from './writer.ts';

/** Spans of the events of one batch, from their arrival until their deliveries are published. */
export type EventSpans<T> = {
  /** The events, each with the `traceparent` of its span, which is stored with it. */
  readonly traced: readonly T[];
  end(result: SpansResult): void;
};

type SpansResult = {
  /** The events that were written. Default: none. */
  readonly matched?: readonly MatchedEvent[];
  /** The reasons why events were not written, by event id. */
  readonly errors?: ReadonlyMap<string, unknown>;
  /** The error of a batch that failed as a whole. */
  readonly error?: unknown;
};

const nothing = () => undefined;

/** The publisher's `traceparent` is a header of the message, or the CloudEvents attribute of that name (binary mode). */
export function startDispatchSpans(
  tracing: Tracing | undefined,
  batch: readonly { readonly message: JsMsg }[],
  parsed: readonly (ParsedEvent | Rejection)[],
): EventSpans<ParsedEvent | Rejection> {
  if (tracing === undefined) return { traced: parsed, end: nothing };
  const spans = new Map<string, Span>();
  const traced = parsed.map((item, index) => {
    const message = batch[index]?.message;
    const span = tracing.start({
      name: 'process events',
      kind: 'consumer',
      parent: message && traceParentOf(message),
      attributes: {
        'messaging.system': 'nats',
        'messaging.operation.name': 'process',
        'messaging.operation.type': 'process',
        'messaging.destination.name': message?.subject,
        ...(item.kind === 'event' ? attributesOf(item) : { 'webhooks.tenant': item.tenant }),
      },
    });
    spans.set(item.id, span);
    return { ...item, traceParent: span.traceParent };
  });
  return {
    traced,
    end: (result) => {
      endSpans(spans, result);
    },
  };
}

/** `parent`: the `traceparent` of the request that publishes the events. */
export function startPublishSpans(
  tracing: Tracing | undefined,
  { events, parent }: { readonly events: readonly NewEvent[]; readonly parent: string | undefined },
): EventSpans<NewEvent> {
  if (tracing === undefined) return { traced: events, end: nothing };
  const spans = new Map<string, Span>();
  const traced = events.map((event) => {
    const span = tracing.start({
      name: 'publish events',
      kind: 'producer',
      parent,
      attributes: {
        'messaging.system': 'webhooks-engine',
        'messaging.operation.name': 'publish',
        'messaging.operation.type': 'send',
        ...attributesOf(event),
      },
    });
    spans.set(event.id, span);
    return { ...event, traceParent: span.traceParent };
  });
  return {
    traced,
    end: (result) => {
      endSpans(spans, result);
    },
  };
}

function attributesOf({ tenant, type, eventId, data }: NewEvent): SpanAttributes {
  return {
    'messaging.message.id': eventId,
    'messaging.message.body.size': data.length,
    'webhooks.tenant': tenant,
    'webhooks.event.id': eventId,
    'webhooks.event.type': type,
  };
}

function endSpans(spans: ReadonlyMap<string, Span>, { matched = [], errors, error }: SpansResult): void {
  const counts = new Map(matched.map(({ event, subscriptions }) => [event.id, subscriptions.length]));
  for (const [id, span] of spans) {
    const reason = errors?.get(id) ?? error;
    span.end({
      attributes: { 'webhooks.deliveries': counts.get(id) },
      error: reason === undefined ? undefined : nameOf(reason),
    });
  }
}

/** The reason of a rejection, or the code (such as a SQLSTATE) or class of an error. Messages may quote data. */
function nameOf(error: unknown): string {
  if (typeof error === 'string') return error;
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

function traceParentOf(message: JsMsg): string | undefined {
  try {
    const { header } = toIncomingMessage(message);
    return parseTraceParent(header('traceparent') ?? header('ce-traceparent'));
  } catch {
    // The headers cannot be parsed. parseEvent rejects the event.
    return undefined;
  }
}
