import { CombinedError } from 'urql';
import { expect, test } from 'vitest';
import { requestBodyOf } from './use-request-body.ts';

const ERROR = new CombinedError({ networkError: new Error('failed') });

test.each<[string, Parameters<typeof requestBodyOf>[0], ReturnType<typeof requestBodyOf>]>([
  ['being read', { fetching: true }, { state: 'loading' }],
  [
    'of the last attempt while another is read',
    { data: { attempt: { id: '0', requestBody: '1' } }, fetching: true },
    { state: 'loading' },
  ],
  ['read', { data: { attempt: { id: '0', requestBody: '' } }, fetching: false }, { state: 'read', body: '' }],
  ['of a deleted event', { data: { attempt: { id: '0', requestBody: null } }, fetching: false }, { state: 'none' }],
  ['of a deleted attempt', { data: { attempt: null }, fetching: false }, { state: 'none' }],
  ['that the server refuses', { error: ERROR, fetching: false }, { state: 'failed', error: ERROR }],
])('a body %s has its own state', (_, result, expected) => {
  expect(requestBodyOf(result)).toEqual(expected);
});
