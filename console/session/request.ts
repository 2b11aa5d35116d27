import { GRAPHQL_URL } from '../graphql/urls.ts';

/** The answer to an operation about the session itself, which is sent without the clients of the pages. */
type Answer<Data> = {
  readonly status: number;
  readonly data?: Data | null;
  readonly errors?: readonly { readonly extensions?: { readonly code?: string } }[];
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

/** Exchanges a one-time code; undefined if it was used or has expired. */
export async function exchangeCode(code: string): Promise<string | undefined> {
  const query =
    'mutation ($code: String!) { exchangePortalCode(code: $code) { ... on ExchangePortalCodePayload { token } } }';
  const { data } = await requestGraphql<{ exchangePortalCode: { token?: string } }>({ query, variables: { code } });
  return data?.exchangePortalCode.token;
}

/** Returns the one-time code in the URL and removes it from the URL. */
export function takeCode(): string | undefined {
  const code = new URLSearchParams(location.hash.slice(1)).get('code');
  if (code === null) return undefined;
  history.replaceState(null, '', location.pathname + location.search);
  return code;
}
