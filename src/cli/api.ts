import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { print } from 'graphql';
import { createClient, type FormattedExecutionResult } from 'graphql-ws';
import { WebSocket } from 'ws';
import type { InputProblem } from '../lib/errors.ts';
import { isObject } from '../lib/json.ts';
import { CommandError, inOptions, reasonOf, textOf } from './failure.ts';
import { readUrl } from './options.ts';

type ApiOptions = {
  readonly url?: string | undefined;
  readonly 'api-key-file'?: string | undefined;
};

export type Environment = Readonly<Record<string, string | undefined>>;

/** A connection to the GraphQL API of an engine. */
export type Api = {
  /** Has no trailing slash. */
  readonly url: string;
  /** Resolves with `data`. Throws a CommandError if the engine is unreachable, rejects the key, or returns errors. */
  request<Data, Variables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data>;
  /** The values of a GraphQL subscription, over WebSocket. Throws an InterruptedError when the connection breaks. */
  watch<Data, Variables>(
    document: TypedDocumentNode<Data, Variables>,
    options: WatchOptions<Variables>,
  ): AsyncIterable<Data>;
};

type WatchOptions<Variables> = {
  readonly variables: Variables;
  readonly signal: AbortSignal;
  /** Called when the engine has registered the GraphQL subscription: from then on no value is missed. */
  readonly onOpen?: (() => Promise<void>) | undefined;
};

/** The WebSocket connection broke. Reconnecting may succeed. */
export class InterruptedError extends Error {}

const REQUEST_MS = 60_000;

/** Connects to the engine that the options or the environment specify. Throws a CommandError if there is no API key. */
export async function connectApi(options: ApiOptions, env: Environment): Promise<Api> {
  const local = `http://127.0.0.1:${valueOf(env, 'PORT') ?? 4000}`;
  const url = readEngineUrl(options.url ?? valueOf(env, 'WEBHOOKS_ENGINE_URL') ?? local);
  const key = await findKey(options['api-key-file'], env);
  return {
    url,
    request: (document, variables) => request({ url, key }, { document, variables }),
    watch: (document, watchOptions) => watch({ url, key }, { document, ...watchOptions }),
  };
}

/** As in the configuration, an empty value counts as unset. */
function valueOf(env: Environment, name: string): string | undefined {
  return env[name]?.trim() || undefined;
}

function readEngineUrl(text: string): string {
  const { origin, pathname } = readUrl(text, 'The URL of the engine is not valid: give --url http://… or https://….');
  return `${origin}${pathname}`.replace(/(?:\/graphql)?\/*$/, '');
}

async function findKey(path: string | undefined, env: Environment): Promise<string> {
  const dataDirKey = join(valueOf(env, 'DATA_DIR') ?? '.data', 'admin-api-key');
  const inEnvironment = valueOf(env, 'WEBHOOKS_ENGINE_API_KEY') ?? valueOf(env, 'ADMIN_API_KEY');
  const text =
    (path === undefined ? inEnvironment : undefined) ??
    (await readKeyFile(path ?? valueOf(env, 'ADMIN_API_KEY_FILE') ?? dataDirKey));
  // ADMIN_API_KEY can have several values.
  return text.split(',')[0]?.trim() ?? '';
}

async function readKeyFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CommandError(
      `No API key: ${path} cannot be read. Set WEBHOOKS_ENGINE_API_KEY, or name a file with --api-key-file.`,
      { cause: error },
    );
  }
}

type Target = { readonly url: string; readonly key: string };
type Operation<Data, Variables> = {
  readonly document: TypedDocumentNode<Data, Variables>;
  readonly variables: Variables;
};
type ApiError = { readonly message: string; readonly extensions?: Readonly<Record<string, unknown>> | undefined };
type GraphqlResponse<Data> = { readonly data?: Data | null; readonly errors?: readonly ApiError[] };

async function request<Data, Variables>(
  { url, key }: Target,
  { document, variables }: Operation<Data, Variables>,
): Promise<Data> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ query: print(document), variables }),
    signal: AbortSignal.timeout(REQUEST_MS),
    redirect: 'error',
  }).catch((error: unknown) => {
    throw unreachable(url, error);
  });
  if (response.status === 401) throw refusedKey(url);
  const body = await readBody<Data>(response);
  if (body?.errors !== undefined) throw refusal(body.errors);
  if (body?.data == null) {
    throw new CommandError(
      `${url}/graphql answered with HTTP ${response.status} and no GraphQL: is it the engine's URL?`,
    );
  }
  return body.data;
}

/** Undefined if the body is not JSON. The document's type names the shape of its data. */
async function readBody<Data>(response: Response): Promise<GraphqlResponse<Data> | undefined> {
  try {
    return (await response.json()) as GraphqlResponse<Data>;
  } catch {
    return undefined;
  }
}

async function* watch<Data, Variables>(
  { url, key }: Target,
  { document, variables, signal, onOpen }: Operation<Data, Variables> & WatchOptions<Variables>,
): AsyncGenerator<Data> {
  const client = createClient({
    url: `${url.replace(/^http/, 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${key}` },
    retryAttempts: 0,
    keepAlive: 15_000,
  });
  const stop = () => {
    client.terminate();
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    // `as`: the library's type requires an index signature.
    const results = client.iterate<Data>({ query: print(document), variables: variables as Record<string, unknown> });
    if (onOpen !== undefined) {
      // The server handles messages of a socket in order, so after this response the subscription is registered.
      await client.iterate({ query: '{ __typename }' }).next();
      await onOpen();
    }
    yield* valuesOf(results);
  } catch (error) {
    if (signal.aborted) return;
    throw explainClosed(error, url);
  } finally {
    signal.removeEventListener('abort', stop);
    client.terminate();
  }
}

async function* valuesOf<Data>(results: AsyncIterable<FormattedExecutionResult<Data, unknown>>): AsyncGenerator<Data> {
  for await (const { data, errors } of results) {
    if (errors !== undefined) throw refusal(errors);
    if (data != null) yield data;
  }
}

/** graphql-ws reports errors of the operation as a list, and a closed connection as an event with a code. */
function explainClosed(error: unknown, url: string): Error {
  if (error instanceof CommandError) return error;
  if (Array.isArray(error)) return refusal(error.filter(isApiError));
  const code = isObject(error) ? error['code'] : undefined;
  if (code === 4401 || code === 4403) return refusedKey(url);
  return new InterruptedError(`the connection to ${url} broke`, { cause: error });
}

function refusal(errors: readonly ApiError[]): CommandError {
  const messages = errors.map(({ message, extensions }) => inOptions(message, problemsIn(extensions)));
  return new CommandError(`The engine refused: ${messages.join('; ')}.`);
}

/** The engine writes `problems` in this shape; a proxy in front of it writes none. */
function problemsIn(extensions: ApiError['extensions']): readonly InputProblem[] {
  // `as`: see above.
  return Array.isArray(extensions?.['problems']) ? (extensions['problems'] as InputProblem[]) : [];
}

function isApiError(value: unknown): value is ApiError {
  return isObject(value) && typeof value['message'] === 'string';
}

function refusedKey(url: string): CommandError {
  return new CommandError(
    `${url} refuses the API key: check WEBHOOKS_ENGINE_API_KEY, --api-key-file or DATA_DIR/admin-api-key.`,
  );
}

function unreachable(url: string, error: unknown): CommandError {
  const text = `${url} cannot be reached (${reasonOf(error)}): start the engine, or name its URL with --url.`;
  return new CommandError(text, { cause: error });
}

type Page<Node> = {
  readonly nodes: readonly Node[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor?: string | null };
};

/** Reads the pages of a connection one after the other. */
export async function* pagesOf<Node>(
  read: (after: string | null) => Promise<Page<Node>>,
): AsyncGenerator<readonly Node[]> {
  for (let after: string | null = null; ; ) {
    const { nodes, pageInfo } = await read(after);
    yield nodes;
    after = pageInfo.endCursor ?? null;
    if (!pageInfo.hasNextPage || after === null) return;
  }
}

type MutationResult = { readonly __typename?: string };
type MutationError = { readonly code: string; readonly message: string; readonly problems?: readonly InputProblem[] };

/** The payload of a mutation; throws a CommandError with the message of an error, and the problems that it does not name. */
export function payloadOf<Result extends MutationResult | MutationError>(
  result: Result,
): Exclude<Result, MutationError> {
  if (!isMutationError(result)) return result as Exclude<Result, MutationError>;
  const { code, message, problems = [] } = result;
  // The messages of problems with a code of their own stand without their path.
  const others = problems.filter(
    (problem) => !message.includes(textOf(problem)) && !message.split('; ').includes(problem.message),
  );
  const details = others.length === 0 ? '' : `: ${inOptions(others.map(textOf).join('; '), others)}`;
  throw new CommandError(`${inOptions(message, problems)} (${code})${details}`);
}

function isMutationError(result: object): result is MutationError {
  return 'code' in result && 'message' in result;
}
