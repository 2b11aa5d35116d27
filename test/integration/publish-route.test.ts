import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestStack } from '../support/test-stack.ts';

/** Requests of services bypass Yoga. With an Accept that lists two types, they do not. */
const ACCEPT = { short: 'application/json', yoga: 'application/json, application/json;q=0.9' };
const PUBLISH = `mutation Publish($input: PublishEventInput!) {
  publishEvent(input: $input) { __typename ... on PublishEventPayload { event { id tenant } } ... on Error { code message } }
}`;
const input = { tenant: 'acme', type: 'order.paid', data: { total: 1 }, id: 'same' };

const cleanUps = createCleanUps();

it('a publishing mutation has the same answer with and without the Fetch API in between', async () => {
  const { app } = await startTestStack(cleanUps, { env: { API_RATE_LIMIT: '1000' } });
  const send = async (body: unknown, headers: Record<string, string> = {}, framing?: 'chunked') => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${app.adminApiKey}`, ...headers },
      ...(framing === 'chunked' ? { body: new Blob([text]).stream(), duplex: 'half' as const } : { body: text }),
    });
    const { status } = response;
    return { status, type: response.headers.get('content-type'), body: await response.text() };
  };
  const requests: readonly (readonly [body: unknown, headers?: Record<string, string>])[] = [
    [{ query: PUBLISH, variables: { input } }],
    [{ query: PUBLISH, variables: { input }, operationName: 'Publish' }],
    [{ query: PUBLISH, variables: { input }, operationName: 'Other' }],
    [{ query: PUBLISH, variables: { input: { ...input, tenant: 'a b' } } }],
    [{ query: PUBLISH, variables: { input: { ...input, unknown: 1 } } }],
    [{ query: PUBLISH }],
    [{ query: PUBLISH, variables: 1 }],
    [{ query: `${PUBLISH} query Other { server { version } }`, variables: { input } }],
    [{ query: 'mutation { publishEvent }' }],
    [{ query: `${PUBLISH} # ${'x'.repeat(65_536)}`, variables: { input } }],
    [{ query: 'mutation { publishEvent( }' }],
    [{ query: 'query { publishEvent: server { version } }' }],
    ['{"query": "publishEvent'],
    ['["publishEvent"]'],
    [{ query: PUBLISH, variables: { input } }, { authorization: 'Bearer unknown' }],
  ];
  for (const [body, headers] of requests) {
    const short = await send(body, { ...headers, accept: ACCEPT.short });
    expect(short).toEqual(await send(body, { ...headers, accept: ACCEPT.yoga }));
    expect(short).toEqual(await send(body, { ...headers, accept: ACCEPT.short }, 'chunked'));
  }
  const { body } = await send({ query: PUBLISH, variables: { input } }, { accept: ACCEPT.short });
  expect(JSON.parse(body)).toEqual({
    data: { publishEvent: { __typename: 'PublishEventPayload', event: { id: 'same', tenant: 'acme' } } },
  });
});

it('an answer of ten megabytes about five events is sent, on both routes', async () => {
  const { app } = await startTestStack(cleanUps);
  const fields = ['a', 'b', 'c', 'd', 'e'].map(
    (id) => `${id}: publishEvent(input: { tenant: "acme", type: "order.paid", data: $data, id: "${id}" }) {
      __typename ... on PublishEventPayload { event { id data dataText } } }`,
  );
  const query = `mutation ($data: JSON!) { ${fields.join(' ')} }`;
  const send = async (accept: string) => {
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${app.adminApiKey}`, accept },
      body: JSON.stringify({ query, variables: { data: 'x'.repeat(1_000_000) } }),
    });
    return response.text();
  };
  const answer = await send(ACCEPT.short);
  expect(answer.slice(0, 100)).toMatch(/^\{"data":\{"a":\{"__typename":"PublishEventPayload"/);
  expect(answer.length).toBeGreaterThan(10_000_000);
  expect(answer === (await send(ACCEPT.yoga))).toBe(true);
});

it('a request beyond the rate of its credential is rejected before its body is read, on both routes', async () => {
  const { app } = await startTestStack(cleanUps, { env: { API_RATE_LIMIT: '1' } });
  const { createApiKey } = await app.graphql<{ createApiKey: { key: string } }>(
    'mutation { createApiKey(input: { name: "p", scope: PUBLISH, tenant: "acme" }) { ... on CreateApiKeyPayload { key } } }',
  );
  const send = async (accept: string) => {
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${createApiKey.key}`, accept },
      body: JSON.stringify({ query: PUBLISH, variables: { input: { ...input, id: undefined } } }),
    });
    return response.status;
  };
  const statuses = [];
  for (let count = 0; count < 10; count += 1) statuses.push(await send(ACCEPT.short), await send(ACCEPT.yoga));
  expect(statuses.slice(0, 2)).toEqual([200, 200]);
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(statuses.length / 2);
});
