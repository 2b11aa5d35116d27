import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  Kind,
  OperationTypeNode,
} from 'graphql';
import type { Authenticate } from '../auth/credentials.ts';
import { type CpuShares, type TakeOperation, waitBeforeOperation } from '../auth/quota.ts';
import { isObject } from '../lib/json.ts';
import { type CpuAccount, MAX_OPERATION_BYTES } from '../lib/operation-work.ts';
import { type HoldBody, MAX_BODY_BYTES } from './body-quota.ts';
import type { Enveloped, Graphql, ServerContext } from './graphql.ts';
import { parseBody } from './plugins/rate-limit.ts';
import { MAX_AT_ONCE, type ResponseLimits, writeResponse } from './plugins/response-limits.ts';

type PublishRouteOptions = {
  readonly graphql: Graphql;
  /** `authenticate` and `takeOperation` do not count refusals: refused requests are passed to Yoga, which counts them. */
  readonly authenticate: Authenticate;
  readonly takeOperation: TakeOperation;
  readonly cpuShares: CpuShares;
  readonly holdBody: HoldBody;
  readonly responseLimits: ResponseLimits;
  readonly maskError: (error: unknown) => GraphQLError;
};

/** Resolves with 'answered', or with the context with which Yoga must answer the request. */
type PublishRoute = (
  request: IncomingMessage,
  response: ServerResponse,
  traceParent: string | undefined,
) => Promise<'answered' | ServerContext>;

type Operation = {
  readonly query: string;
  readonly operationName?: string | undefined;
  readonly variables?: object | undefined;
};

const PUBLISHING: ReadonlySet<string> = new Set(['publishEvent', 'publishEvents', '__typename']);
const JSON_TYPE = /^application\/json *(?:;|$)/i;

/**
 * Answers the mutations `publishEvent` and `publishEvents`, of which services send thousands, without the objects of
 * the Fetch API, which cost more than the operation itself. The operation runs through the same plugins. Yoga answers
 * all other requests, with its content negotiation.
 */
export function createPublishRoute(options: PublishRouteOptions): PublishRoute {
  const { graphql, authenticate, cpuShares, holdBody, responseLimits, maskError } = options;
  const isPublishing = memoize(publishesOnly);
  // Plugins read the signal of this request for queries. It never aborts.
  const shared = new graphql.fetchAPI.Request('http://localhost/graphql', { method: 'POST' });

  /** Returns undefined if Yoga must answer. */
  async function prepare(over: ServerContext, { query, operationName, variables }: Operation) {
    const params = { query };
    const enveloped: Enveloped = graphql.getEnveloped({ request: shared, params, waitUntil: () => undefined, ...over });
    const { schema, parse, validate, contextFactory, execute } = enveloped;
    try {
      const document = parse(query);
      if (!isPublishing(document) || validate(schema, document).length > 0) return undefined;
      if (operationName !== undefined && operationName !== nameOf(document)) return undefined;
      const args = { schema, document, contextValue: await contextFactory(), operationName, variableValues: variables };
      // `as`: variables are an object, and graphql-js accepts an undefined operation name.
      return { execute, args: args as ExecutionArgs };
    } catch {
      // Yoga will report the same error.
      return undefined;
    }
  }

  return async (request, response, traceParent) => {
    if (!isPlain(request)) return {};
    const viewer = await authenticate(request.headers.authorization).catch(() => undefined);
    if (viewer === undefined) return {};
    if (waitBeforeOperation(viewer, options) > 0) return { viewer };
    if (holdBody(viewer, request, response) === undefined) return { viewer, isCharged: true };
    const body = await readBody(request);
    if (body === undefined) return 'answered';
    const parsedBody = parsePublishing(body, cpuShares(viewer));
    const operation = readOperation(parsedBody);
    const prepared = operation && (await prepare({ viewer, traceParent }, operation));
    if (prepared === undefined) {
      // Yoga's adapter takes the body from here, because the stream of the request has been read.
      Object.assign(request, { body: Readable.from([body]) });
      return { viewer, isAdmitted: true, parsedBody };
    }
    const result = await run(prepared).catch((error: unknown) => ({ errors: [maskError(error)] }));
    const { size, result: bounded } = responseLimits.bound(result, { viewer, res: response, max: MAX_OPERATION_BYTES });
    await send(response, bounded, { isLong: size.characters > MAX_AT_ONCE });
    return 'answered';
  };
}

async function run({
  execute,
  args,
}: {
  execute: Enveloped['execute'];
  args: ExecutionArgs;
}): Promise<ExecutionResult> {
  return execute(args);
}

/** Whether the request has the form that services use. Other requests need Yoga's negotiation, or come from browsers. */
function isPlain({ method, url, headers }: IncomingMessage): boolean {
  const { accept = '*/*', origin } = headers;
  const length = Number(headers['content-length']);
  return (
    method === 'POST' &&
    url === '/graphql' &&
    JSON_TYPE.test(headers['content-type'] ?? '') &&
    (accept === '*/*' || accept === 'application/json') &&
    origin === undefined &&
    headers['content-encoding'] === undefined &&
    length > 0 &&
    length <= MAX_BODY_BYTES
  );
}

/** Returns undefined if the client disconnected. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer); // without an encoding, chunks are buffers
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
  } catch {
    return undefined;
  }
}

/** Returns the JSON of a body that may publish, and undefined if Yoga must parse it or report its error. */
function parsePublishing(body: Buffer, account: CpuAccount | undefined): unknown {
  if (!body.includes('publishEvent')) return undefined;
  try {
    return parseBody(body.toString(), account);
  } catch {
    return undefined;
  }
}

/** Returns undefined if the JSON of a body is not an operation. */
function readOperation(parsed: unknown): Operation | undefined {
  if (!isObject(parsed)) return undefined;
  const { query, operationName, variables, ...rest } = parsed;
  const isValid =
    typeof query === 'string' &&
    (operationName == null || typeof operationName === 'string') &&
    (variables == null || isObject(variables)) &&
    Object.keys(rest).length === 0;
  if (!isValid) return undefined;
  return { query, operationName: operationName ?? undefined, variables: variables ?? undefined };
}

/** Whether the document is one mutation without fragments that only publishes. */
function publishesOnly({ definitions }: DocumentNode): boolean {
  const [definition] = definitions;
  return (
    definitions.length === 1 &&
    definition?.kind === Kind.OPERATION_DEFINITION &&
    definition.operation === OperationTypeNode.MUTATION &&
    definition.selectionSet.selections.every(
      (selection) => selection.kind === Kind.FIELD && PUBLISHING.has(selection.name.value),
    )
  );
}

/** The name of the first operation. */
function nameOf({ definitions: [definition] }: DocumentNode): string | undefined {
  return definition?.kind === Kind.OPERATION_DEFINITION ? definition.name?.value : undefined;
}

function memoize<Key extends object, Value>(compute: (key: Key) => Value): (key: Key) => Value {
  const known = new WeakMap<Key, { readonly value: Value }>();
  return (key) => {
    const found = known.get(key) ?? { value: compute(key) };
    known.set(key, found);
    return found.value;
  };
}

/** Sends the response as Yoga does for `application/json`: status 200, unless an error specifies another status. */
async function send(
  response: ServerResponse,
  { data, errors }: ExecutionResult,
  { isLong }: { readonly isLong: boolean },
): Promise<void> {
  const statuses = errors?.map(({ extensions: { http } }) => statusOf(http)) ?? [];
  // JSON.stringify omits undefined members.
  const shown = errors?.map((error) => ({ ...error.toJSON(), extensions: { ...error.extensions, http: undefined } }));
  const headers = { 'content-type': 'application/json; charset=utf-8' };
  const status = Math.max(200, ...statuses);
  if (isLong) {
    response.writeHead(status, headers);
    // It rejects if the client disconnects.
    await pipeline(writeResponse({ data, errors: shown }), response).catch(() => undefined);
    return;
  }
  const body = Buffer.from(JSON.stringify({ data, errors: shown }));
  response.writeHead(status, { ...headers, 'content-length': body.length });
  response.end(body);
}

function statusOf(http: unknown): number {
  const status = isObject(http) ? http['status'] : undefined;
  return typeof status === 'number' ? status : 0;
}
