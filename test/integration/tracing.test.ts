import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from '../support/otlp-collector.ts';
import { startReceiver } from '../support/receiver.ts';
import { ADMIN_API_KEY, startTestApp, startTestServices, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const PUBLISHER = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' };
const SAMPLED = `00-${PUBLISHER.traceId}-${PUBLISHER.spanId}-01`;
const NOT_SAMPLED = '00-11111111111111111111111111111111-2222222222222222-00';
const HTTP_CLIENT = '00-33333333333333333333333333333333-4444444444444444-01';
const CLIENT = 3;
const PRODUCER = 4;
const CONSUMER = 5;

let services: TestServices;
let collector: OtlpCollector;

beforeAll(async () => {
  [services, collector] = await Promise.all([startTestServices(), startOtlpCollector()]);
});

afterAll(async () => {
  await Promise.all([services.stop(), collector.close()]);
});

function spansOf(traceId: string, kind: number): CollectedSpan[] {
  return collector.spans.filter((span) => span.traceId === traceId && span.kind === kind);
}

function startTracedApp(env: Record<string, string> = {}) {
  const logLines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void logLines.push(line) });
  const traced = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=a%20b',
    OTEL_SERVICE_NAME: 'hooks',
    ...env,
  };
  return startTestApp(services, { env: traced, log }).then((app) => ({ app, logLines }));
}

async function publishOverHttp(url: string, type: string): Promise<void> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${ADMIN_API_KEY}`,
      traceparent: HTTP_CLIENT,
    },
    body: JSON.stringify({
      query: 'mutation ($input: PublishEventInput!) { publishEvent(input: $input) { __typename } }',
      variables: { input: { tenant: 'acme', type, data: { ok: true } } },
    }),
  });
  expect(await response.json()).toEqual({ data: { publishEvent: { __typename: 'PublishEventPayload' } } });
}

test('a trace spans publisher, dispatch, attempts and receiver, over retries and restarts', async () => {
  const answers = [503, 200, 200, 200];
  const receiver = await startReceiver((_request, index) => ({ status: answers[index] ?? 200 }));
  const { app, logLines } = await startTracedApp();
  await app.subscribe({ url: `${receiver.url}/path-with-a-secret`, eventTypes: ['order.paid'] });
  await services.publish('events.acme.order.paid', '{}', { traceparent: SAMPLED });
  await receiver.waitForRequests(2);
  await services.publish('events.acme.order.paid', '{}', { traceparent: NOT_SAMPLED });
  await receiver.waitForRequests(3);
  await publishOverHttp(app.url, 'order.paid');
  await receiver.waitForRequests(4);
  await waitFor(() => logLines.filter((line) => line.includes('delivery.attempted')).length === 4, {
    what: 'four lines in the log',
  });
  await app.stop();

  // The receiver continues the trace: each attempt has its own span, whose id the log shows as well.
  const headers = receiver.requests.map((request) => String(request.headers['traceparent']));
  const [first, second, unsampled, overHttp] = headers;
  const [dispatch] = spansOf(PUBLISHER.traceId, CONSUMER);
  expect(dispatch).toMatchObject({ parentSpanId: PUBLISHER.spanId, serviceName: 'hooks', isError: false });
  expect(dispatch?.attributes).toMatchObject({
    'messaging.system': 'nats',
    'messaging.destination.name': 'events.acme.order.paid',
    'webhooks.deliveries': 1,
  });
  const attempts = spansOf(PUBLISHER.traceId, CLIENT);
  expect(attempts.map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`)).toEqual([first, second]);
  expect(attempts.map(({ parentSpanId }) => parentSpanId)).toEqual([dispatch?.spanId, dispatch?.spanId]);
  expect(attempts.map(({ isError, attributes }) => [isError, attributes['http.response.status_code']])).toEqual([
    [true, 503],
    [false, 200],
  ]);
  expect(attempts.map(({ links }) => links.map(({ spanId }) => spanId))).toEqual([[], [attempts[0]?.spanId]]);
  expect(JSON.stringify(collector.spans)).not.toContain('path-with-a-secret');
  const logged = logLines.map((line) => JSON.parse(line) as Record<string, string>);
  const attempted = logged.filter(({ msg }) => msg === 'delivery.attempted');
  expect(attempted.slice(0, 2).map(({ trace_id, span_id }) => `00-${trace_id}-${span_id}-01`)).toEqual([first, second]);

  // The publisher decided against sampling: nothing is exported, and the receiver gets the decision.
  expect(unsampled).toBe(NOT_SAMPLED);
  expect(collector.spans.filter(({ traceId }) => traceId.startsWith('1111'))).toEqual([]);

  const [produced] = spansOf('3'.repeat(32), PRODUCER);
  expect(produced).toMatchObject({ parentSpanId: '4'.repeat(16), name: 'publish events' });
  expect(spansOf('3'.repeat(32), CLIENT)).toMatchObject([{ parentSpanId: produced?.spanId }]);
  expect(overHttp).toContain('3'.repeat(32));
  expect(collector.requests.every((request) => request['x-collector-key'] === 'a b')).toBe(true);

  await receiver.close();
});

test('a process that starts later reads the trace of a delivery from Postgres, and links its attempt to the last one', async () => {
  const receiver = await startReceiver((_request, index) => ({ status: index < 3 ? 503 : 200 }));
  const { app } = await startTracedApp();
  await app.subscribe({ url: receiver.url, eventTypes: ['order.late'] });
  await services.publish('events.acme.order.late', '{}', { traceparent: `00-${'5'.repeat(32)}-${'6'.repeat(16)}-01` });
  const failed = () => services.query<{ id: string }>(`SELECT id FROM deliveries WHERE status = 'FAILURE'`);
  const [delivery] = await waitFor(async () => (await failed()).length === 1 && failed(), { what: 'the failure' });
  await app.stop();

  const later = await startTracedApp({ SEND_TRACEPARENT: 'false' });
  await later.app.graphql('mutation ($id: ID!) { retryDelivery(id: $id) { __typename } }', { id: delivery?.id });
  await receiver.waitForRequests(4);
  await later.app.stop();
  await receiver.close();

  const attempts = spansOf('5'.repeat(32), CLIENT);
  expect(attempts.map(({ attributes }) => attributes['webhooks.attempt'])).toEqual([1, 2, 3, 4]);
  expect(attempts[3]?.links).toMatchObject([{ spanId: attempts[2]?.spanId }]);
  expect(attempts[3]?.parentSpanId).toBe(attempts[0]?.parentSpanId);
  expect(receiver.requests.map(({ headers }) => headers['traceparent'] !== undefined)).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test('without a collector nothing is traced, and receivers get no traceparent', async () => {
  const receiver = await startReceiver();
  const app = await startTestApp(services);
  await app.subscribe({ url: receiver.url, eventTypes: ['order.untraced'] });
  await services.publish('events.acme.order.untraced', '{}', { traceparent: SAMPLED });
  const [request] = await receiver.waitForRequests(1);
  expect(request?.headers).not.toHaveProperty('traceparent');
  await app.stop();
  await receiver.close();
  const stored = await services.query(`SELECT 1 FROM events WHERE type = 'order.untraced' AND trace_parent IS NULL`);
  expect(stored).toHaveLength(1);
});

test('with the sampler always_off nothing is exported, not even for a sampled publisher', async () => {
  const receiver = await startReceiver();
  const requestCount = collector.requests.length;
  const { app } = await startTracedApp({ OTEL_TRACES_SAMPLER: 'always_off' });
  await app.subscribe({ url: receiver.url, eventTypes: ['never.sampled'] });
  await services.publish('events.acme.never.sampled', '{}', { traceparent: SAMPLED });
  await receiver.waitForRequests(1);
  // A stop exports the spans that are queued.
  await app.stop();
  expect(collector.requests).toHaveLength(requestCount);
  await receiver.close();
});
