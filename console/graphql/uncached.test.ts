import { cacheExchange } from '@urql/exchange-graphcache';
import { Client, type DocumentInput, fetchExchange } from 'urql';
import { expect, test, vi } from 'vitest';
import {
  DeliveryListDocument,
  EventDetailsDocument,
  FilterResultsDocument,
  RequestBodyDocument,
} from '../generated/graphql.ts';
import { withoutLarge } from './uncached.ts';

const LIST = {
  __typename: 'Connection',
  nodes: [],
  pageInfo: { __typename: 'PageInfo', endCursor: null, hasNextPage: false },
};
const ANSWER = { data: { __typename: 'Query', deliveries: LIST } };

test.each<[string, DocumentInput, number]>([
  ['request bodies', RequestBodyDocument, 2],
  ['an event with its data', EventDetailsDocument, 2],
  ['a tried filter', FilterResultsDocument, 2],
  ['a list', DeliveryListDocument, 1],
])('%s: the cache keeps small answers only', async (_, document, requests) => {
  const send = vi.fn(() => {
    const headers = { 'content-type': 'application/json' };
    return Promise.resolve(new Response(JSON.stringify(ANSWER), { headers }));
  });
  const client = new Client({
    url: 'http://localhost/graphql',
    preferGetMethod: false,
    requestPolicy: 'cache-first',
    fetch: send,
    exchanges: [withoutLarge(cacheExchange({ keys: { Connection: () => null, PageInfo: () => null } })), fetchExchange],
  });
  for (let index = 0; index < 2; index += 1) {
    const { data } = await client.query(document, {}).toPromise();
    expect(data).toEqual(expect.anything());
  }
  expect(send).toHaveBeenCalledTimes(requests);
});
