import { serverAudits } from 'graphql-http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { ADMIN_KEY, type Api, startApi } from '../support/graphql-api.ts';

let api: Api;
let server: ApiServer;
beforeAll(async () => {
  api = await startApi();
  server = await startApiServer(api);
});
afterAll(async () => {
  await server.stop();
  await api.stop();
});

/** Adds the credentials of the admin, which the audits do not have. */
function fetchAsAdmin(url: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${ADMIN_KEY}`);
  return fetch(url, { ...init, headers });
}

/** The audits of the GraphQL over HTTP specification: its MUST, SHOULD and MAY rules. */
const audits = serverAudits({ url: () => `${server.url}/graphql`, fetchFn: fetchAsAdmin });

test('there are audits', () => {
  expect(audits.length).toBeGreaterThan(50);
});

test.each(audits.map((audit) => [audit.id, audit.name, audit] as const))('%s: %s', async (_id, _name, audit) => {
  const result = await audit.fn();
  expect(result.status === 'ok' ? undefined : `${result.status}: ${result.reason}`).toBeUndefined();
});

test('a result that the client does not accept is refused with the accepted types, and its live stream ends', async () => {
  const ask = async (query: string, accept: string) => {
    const headers = { 'content-type': 'application/json', accept };
    const response = await fetchAsAdmin(`${server.url}/graphql`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ query }),
    });
    return { status: response.status, body: (await response.json()) as unknown };
  };
  const refused = (types: string) => ({
    status: 406,
    body: { errors: [{ message: expect.stringContaining(types) as string, extensions: { code: 'NOT_ACCEPTABLE' } }] },
  });
  const stream = 'subscription { deliveryLog { id } }';
  expect(await ask(stream, 'application/json')).toEqual(refused('accept: text/event-stream'));
  expect(await ask('{ __typename }', 'text/html')).toEqual(refused('application/json'));
  const openStreams = async () => {
    const page = await (await fetchAsAdmin(`${server.url}/metrics`)).text();
    return [...page.matchAll(/^webhooks_graphql_subscriptions\S* (\d+)$/gm)].map(([, count]) => count);
  };
  await expect.poll(openStreams).toEqual(['0']);
});
