import { createSchema, createYoga } from 'graphql-yoga';
import { expect, it } from 'vitest';
import { endLongQueries } from '../../src/server/plugins/concurrency.ts';
import { waitFor } from '../support/wait-for.ts';

/** `slow` answers after `letGo()`; `after` records that its resolver started. */
function createServer(maxMs: number) {
  const begun: string[] = [];
  let letGo: () => void = () => undefined;
  const slow = async () => {
    begun.push('slow');
    await new Promise<void>((resolve) => {
      letGo = resolve;
    });
    return {};
  };
  const after = () => {
    begun.push('after');
    return 'done';
  };
  const schema = createSchema({
    typeDefs: 'type Query { slow: Step! } type Mutation { slow: Step! after: String! } type Step { after: String! }',
    resolvers: { Query: { slow }, Mutation: { slow, after }, Step: { after } },
  });
  const yoga = createYoga({ schema, plugins: [endLongQueries(maxMs)], logging: false });
  const run = async (query: string, signal?: AbortSignal) => {
    const headers = { 'content-type': 'application/json' };
    const request = { method: 'POST', headers, body: JSON.stringify({ query }), signal: signal ?? null };
    const response = await yoga.fetch('http://test/graphql', request);
    return response.text();
  };
  return {
    run,
    begun,
    letGo: () => {
      letGo();
    },
  };
}

it('a query beyond its time limit ends with the error TIMEOUT, and none of its further resolvers start', async () => {
  const { run, begun, letGo } = createServer(20);
  expect(JSON.parse(await run('{ slow { after } }'))).toMatchObject({ errors: [{ extensions: { code: 'TIMEOUT' } }] });
  letGo();
  await new Promise((resolve) => setImmediate(resolve));
  expect(begun).toEqual(['slow']);
});

it('a query ends when its client disconnects', async () => {
  const { run, begun, letGo } = createServer(60_000);
  const client = new AbortController();
  const answer = run('{ slow { after } }', client.signal).catch(() => undefined);
  await waitFor(() => begun.length === 1, { what: 'the query to begin' });
  client.abort();
  await answer;
  letGo();
  await new Promise((resolve) => setImmediate(resolve));
  expect(begun).toEqual(['slow']);
});

it('a mutation is ended neither by the time limit nor by a disconnect of its client', async () => {
  const { run, begun, letGo } = createServer(1);
  const client = new AbortController();
  const answer = run('mutation { slow { after } after }', client.signal).catch(() => undefined);
  await waitFor(() => begun.length === 1, { what: 'the mutation to begin' });
  client.abort();
  await new Promise((resolve) => setTimeout(resolve, 20));
  letGo();
  await waitFor(() => begun.length === 3, { what: 'the mutation to go on' });
  await answer;
  expect(begun).toEqual(['slow', 'after', 'after']);
});
