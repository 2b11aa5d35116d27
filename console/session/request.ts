import { GRAPHQL_URL } from '../graphql/urls.ts';
import { messages } from '../messages.ts';

/** The answer to an operation about the session itself, which is sent without the clients of the pages. */
type Answer<Data> = {
  readonly status: number;
  readonly data?: Data | null;
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];
};

type Operation = {
  readonly query: string;
  readonly variables?: object;
  /** Undefined: a one-time code in the variables is the credential. */
  readonly token?: string;
};

/** Sends an operation, even while the page is being closed. Rejects if the server cannot be reached. */
export async function requestGraphql<Data>({ query, variables, token }: Operation): Promise<Answer<Data>> {
  const response = await fetch(GRAPHQL_URL, {
    method: 'POST',
    credentials: 'omit',
    referrerPolicy: 'no-referrer',
    keepalive: true,
    headers: {
      'content-type': 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query, variables }),
  });
  // `as`: the server answers in this format.
  return { status: response.status, ...((await response.json()) as Omit<Answer<Data>, 'status'>) };
}

/** `refusal` is a sentence for the user. */
type SignedIn = { readonly token: string } | { readonly refusal: string };

/**
 * Exchanges a key for a session. Only a credential that is not permitted to create one, such as a JWT or a session, is used
 * unchanged: after any other error the tab would keep a key that signing out cannot revoke.
 */
export async function exchangeKey(key: string): Promise<SignedIn> {
  // Headers are Latin-1 without controls: other characters make fetch throw.
  if (!/^[\x21-\x7e]+$/.test(key)) return { refusal: messages.signIn.refused };
  const query = `mutation { createConsoleSession {
    ... on CreateConsoleSessionPayload { token } ... on Error { message } } }`;
  type Created = { createConsoleSession: { token?: string; message?: string } };
  try {
    const answer = await requestGraphql<Created>({ query, token: key });
    const { token, message } = answer.data?.createConsoleSession ?? {};
    if (token !== undefined) return { token };
    if (message !== undefined) return { refusal: messages.signIn.failed(message) };
    return codeOf(answer) === 'FORBIDDEN' ? await tryKey(key) : refusalOf(answer);
  } catch {
    return { refusal: messages.signIn.unreachable };
  }
}

async function tryKey(key: string): Promise<SignedIn> {
  const answer = await requestGraphql<object>({ query: '{ viewer { scope } }', token: key });
  if (codeOf(answer) === 'FORBIDDEN') return { refusal: messages.signIn.cannotRead };
  return answer.data == null ? refusalOf(answer) : { token: key };
}

function refusalOf(answer: Answer<unknown>): SignedIn {
  if (codeOf(answer) === 'UNAUTHENTICATED') return { refusal: messages.signIn.refused };
  const message = answer.errors?.[0]?.message;
  return { refusal: message === undefined ? messages.signIn.unreachable : messages.signIn.failed(message) };
}

function codeOf({ errors }: Answer<unknown>): string | undefined {
  return errors?.[0]?.extensions?.code;
}

/**
 * Exchanges a one-time code; undefined if it was used or has expired. If the server does not say whether it was, rejects and puts
 * the code back into the URL, so that reloading the page tries it again.
 */
export async function exchangeCode(code: string): Promise<string | undefined> {
  try {
    return await tokenFor(code);
  } catch (error) {
    history.replaceState(null, '', `${location.pathname}${location.search}#code=${code}`);
    throw error;
  }
}

async function tokenFor(code: string): Promise<string | undefined> {
  const query =
    'mutation ($code: String!) { exchangePortalCode(code: $code) { ... on ExchangePortalCodePayload { token } } }';
  const answer = await requestGraphql<{ exchangePortalCode: { token?: string } }>({ query, variables: { code } });
  // The code is also the credential of this operation.
  if (answer.data == null && codeOf(answer) !== 'UNAUTHENTICATED') throw new Error('the server failed');
  return answer.data?.exchangePortalCode.token;
}

/** Returns the one-time code in the URL and removes it from the URL. */
export function takeCode(): string | undefined {
  const code = new URLSearchParams(location.hash.slice(1)).get('code');
  if (code === null) return undefined;
  history.replaceState(null, '', location.pathname + location.search);
  return code;
}
