import { afterAll, expect, test, vi } from 'vitest';

vi.stubGlobal('document', { baseURI: 'http://localhost/console/' });
// The module reads the address of the page.
const { exchangeCode, exchangeKey } = await import('./request.ts');

afterAll(() => {
  vi.unstubAllGlobals();
});

const FORBIDDEN = { data: null, errors: [{ message: 'not permitted', extensions: { code: 'FORBIDDEN' } }] };

/** Answers the requests in this order; the last one answers all that follow. */
function serve(...answers: readonly object[]): void {
  const left = [...answers];
  vi.stubGlobal('fetch', () => {
    const answer = left.length > 1 ? left.shift() : left[0];
    return Promise.resolve(answer instanceof Response ? answer : Response.json(answer));
  });
}

/** The viewer can be read, so the key itself would be accepted. */
const VALID = { data: { viewer: { scope: 'ADMIN' } } };

test('a key is exchanged for a session', async () => {
  serve({ data: { createConsoleSession: { token: 'whs_session' } } });
  expect(await exchangeKey('whk_key')).toEqual({ token: 'whs_session' });
});

test('only a credential that is not permitted to create a session is used unchanged', async () => {
  serve(FORBIDDEN, VALID);
  expect(await exchangeKey('a.jwt.x')).toEqual({ token: 'a.jwt.x' });
  serve(FORBIDDEN, FORBIDDEN);
  expect(await exchangeKey('whk_publisher')).toEqual({ refusal: expect.stringContaining('only publish') as string });
});

test.each<[string, object, string]>([
  [
    'there are too many sessions',
    { data: { createConsoleSession: { message: 'there are 1000 valid sessions already' } } },
    'there are 1000 valid sessions already',
  ],
  [
    'the server fails',
    { data: null, errors: [{ message: 'Unexpected error', extensions: { code: 'INTERNAL_SERVER_ERROR' } }] },
    'Unexpected error',
  ],
  [
    'the key cannot be checked',
    Response.json({ errors: [{ message: 'Postgres', extensions: { code: 'SERVICE_UNAVAILABLE' } }] }, { status: 503 }),
    'Postgres',
  ],
  ['a proxy answers', new Response('<html>', { status: 502 }), 'cannot be reached'],
  ['the answer has no GraphQL', {}, 'cannot be reached'],
  [
    'the key is unknown',
    Response.json({ errors: [{ message: 'x', extensions: { code: 'UNAUTHENTICATED' } }] }, { status: 401 }),
    'refused this key',
  ],
])('a key is not used as the session if %s', async (_what, answer, reason) => {
  serve(answer, VALID);
  expect(await exchangeKey('whk_key')).toEqual({ refusal: expect.stringContaining(reason) as string });
});

test('a failing server is no used code, which stays in the URL', async () => {
  const replaceState = vi.fn();
  vi.stubGlobal('history', { replaceState });
  vi.stubGlobal('location', { pathname: '/console/', search: '?a=1' });
  serve(Response.json({ errors: [{ message: 'x', extensions: { code: 'UNAUTHENTICATED' } }] }, { status: 401 }));
  expect(await exchangeCode('code')).toBeUndefined();
  serve({ data: null, errors: [{ message: 'Unexpected error', extensions: { code: 'INTERNAL_SERVER_ERROR' } }] });
  expect(replaceState).not.toHaveBeenCalled();
  await expect(exchangeCode('code')).rejects.toThrow();
  expect(replaceState).toHaveBeenCalledWith(null, '', '/console/?a=1#code=code');
});
