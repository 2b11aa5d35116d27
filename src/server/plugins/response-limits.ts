import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { type ExecutionArgs, type ExecutionResult, GraphQLError } from 'graphql';
import { createGraphQLError, isAsyncIterable, mapAsyncIterator, type Plugin } from 'graphql-yoga';
import { CPU_ESTIMATES_MS, type CpuShares, quotaKeyOf } from '../../auth/quota.ts';
import type { Viewer } from '../../auth/viewer.ts';
import { JsonText } from '../../delivery-log/event-data.ts';
import { yieldEventLoop } from '../../lib/event-loop.ts';
import { MAX_OPERATION_BYTES } from '../../lib/operation-work.ts';
import type { Context } from '../../schema/context.ts';
import type { ServerContext } from '../graphql.ts';
import { onceOver } from '../once-over.ts';
import { tooManyOperations } from './concurrency.ts';

/**
 * Maximum characters of a response that is written in one piece: over WebSocket, and each event of SSE. Takes about 20
 * ms.
 */
const MAX_UNSPLIT_CHARACTERS = 4 * 1024 * 1024;
/** Maximum characters of event data in such a response, which is parsed once more: all of the largest event. */
const MAX_UNSPLIT_JSON = 1024 * 1024;
/** Responses over HTTP with more characters are streamed as the client reads them. */
export const MAX_AT_ONCE = 256 * 1024;
/**
 * Maximum characters of a tenant's HTTP responses that its clients have not read yet. Beyond it no operation starts, so it
 * is exceeded at most by the responses of the operations that run and of those that have just ended, some 10.
 */
const MAX_UNREAD = 64 * 1024 * 1024;

type GraphqlResult = Parameters<typeof boundErrors>[0] & { readonly data?: unknown };

/** The response, or an error if it has more than `max` characters. */
function boundResponse<Result extends GraphqlResult>(result: Result, max: number) {
  const size = sizeOfResponse(result.data, max);
  const refuse = (most: number, message: string) => {
    const error = new GraphQLError(message, { extensions: { code: 'LIMIT_EXCEEDED', limit: 'answer', max: most } });
    return { size: NOTHING, result: { ...result, data: null, errors: [error] } };
  };
  if (size.characters > max) {
    return refuse(max, `the answer is longer than ${max} characters; request fewer rows or fields`);
  }
  if (max <= MAX_UNSPLIT_CHARACTERS && size.jsonCharacters > MAX_UNSPLIT_JSON) {
    const most = `over WebSocket and SSE at most ${MAX_UNSPLIT_JSON} characters of event data`;
    return refuse(MAX_UNSPLIT_JSON, `one answer may contain ${most}; request fewer rows`);
  }
  return { size, result: boundErrors(result) };
}

const NOTHING: ResponseSize = { characters: 0, values: 0, jsonCharacters: 0 };

/** Event data in a response that is not written in pieces is parsed once more, and written. */
function cpuOf({ characters, values, jsonCharacters }: ResponseSize, max: number): number {
  const { valueOfResponse, characterOfResponse, characterOfJson } = CPU_ESTIMATES_MS;
  const isInPieces = max > MAX_UNSPLIT_CHARACTERS && characters > MAX_AT_ONCE;
  return (
    values * valueOfResponse + characters * characterOfResponse + (isInPieces ? 0 : jsonCharacters * characterOfJson)
  );
}

/** Yoga uses the result as the response body, which may be a stream. */
function streamOf(response: ExecutionResult): string {
  // `as`: Yoga's type allows only text.
  return Readable.from(writeResponse(response), { objectMode: false, highWaterMark: 1 }) as unknown as string;
}

type Recipient = {
  readonly viewer?: Viewer | undefined;
  readonly res?: ServerResponse | undefined;
  /** Maximum characters of the response. */
  readonly max: number;
};

export type ResponseLimits = {
  /** Must come before the limit of concurrency, so that an operation is checked when it has a permit. */
  readonly plugin: Plugin<Context, ServerContext>;
  /** Bounds a response and charges it to the viewer's tenant. */
  readonly bound: <Result extends GraphqlResult>(
    result: Result,
    recipient: Recipient,
  ) => ReturnType<typeof boundResponse<Result>>;
  /** Bounds a message over WebSocket, or an event of SSE, and charges it to the viewer's tenant. */
  readonly boundMessage: <Result extends GraphqlResult>(result: Result, viewer: Viewer | undefined) => Result;
};

/** Limits the length of responses and the unread responses of each tenant. */
export function createResponseLimits(cpuShares: CpuShares): ResponseLimits {
  const unread = new Map<string, number>();
  const addUnread = (tenant: string, characters: number) => {
    const sum = (unread.get(tenant) ?? 0) + characters;
    if (sum === 0) unread.delete(tenant);
    else unread.set(tenant, sum);
  };
  const bound: ResponseLimits['bound'] = (result, { viewer, res, max }) => {
    const response = boundResponse(result, max);
    if (viewer === undefined) return response;
    const { characters } = response.size;
    cpuShares(viewer)?.spend(cpuOf(response.size, max));
    const tenant = quotaKeyOf(viewer);
    if (tenant !== undefined && res !== undefined && !res.closed) {
      addUnread(tenant, characters);
      onceOver(res, () => {
        addUnread(tenant, -characters);
      });
    }
    return response;
  };
  const boundMessage: ResponseLimits['boundMessage'] = (result, viewer) =>
    bound(result, { viewer, max: MAX_UNSPLIT_CHARACTERS }).result;
  const plugin: ResponseLimits['plugin'] = {
    onExecute: ({ args, executeFn, setExecuteFn, setResultAndStopExecution }) => {
      // `as`: Yoga leaves the type of the context open.
      const tenant = quotaKeyOf((args.contextValue as Context).viewer);
      if (tenant === undefined) return;
      const refusal = (): ExecutionResult | undefined => {
        if ((unread.get(tenant) ?? 0) <= MAX_UNREAD) return undefined;
        const message = `at most ${MAX_UNREAD} characters of a tenant's answers can be unread`;
        return { errors: [tooManyOperations(message)] };
      };
      const refused = refusal();
      if (refused !== undefined) setResultAndStopExecution(refused);
      // Again when it starts: the responses of the operations that it waited for may be unread.
      // `as`: the function of graphql-js, or of another plugin that replaced it.
      else setExecuteFn((execution: ExecutionArgs) => refusal() ?? (executeFn(execution) as Promise<ExecutionResult>));
    },
    onSubscribe: ({ args }) => ({
      onSubscribeResult: () => ({
        onNext: () => {
          // `as`: as above.
          const { work, eventData } = args.contextValue as Context;
          work.renew();
          eventData.renew();
        },
      }),
    }),
    onResultProcess: (hook) => {
      const { result, request, serverContext } = hook;
      if (Array.isArray(result)) return;
      if (isAsyncIterable(result)) {
        hook.setResult(mapAsyncIterator(result, (value) => boundMessage(value, serverContext.viewer)));
        return;
      }
      const isEvent = request.headers.get('accept')?.includes('text/event-stream') === true;
      const max = isEvent ? MAX_UNSPLIT_CHARACTERS : MAX_OPERATION_BYTES;
      const { size, result: bounded } = bound(result, { ...serverContext, max });
      const isLong = size.characters > MAX_AT_ONCE && !isEvent;
      hook.setResult(isLong ? { ...bounded, stringify: streamOf } : bounded);
    },
  };
  return { plugin, bound, boundMessage };
}

/** Characters written at a time. */
const PIECE = 64 * 1024;

/** `jsonCharacters`: the part of `characters` that is event data. */
type ResponseSize = { readonly characters: number; readonly values: number; readonly jsonCharacters: number };

/** Length of a response as JSON (without escapes) and number of its values, counted up to just beyond `max` characters. */
export function sizeOfResponse(response: unknown, max: number): ResponseSize {
  let characters = 0;
  let values = 0;
  let jsonCharacters = 0;
  const visit = (value: unknown): void => {
    values += 1;
    if (characters > max) return;
    if (typeof value === 'string') characters += value.length + 2;
    else if (value instanceof JsonText) {
      characters += value.text.length;
      jsonCharacters += value.text.length;
    } else if (typeof value !== 'object' || value === null) characters += 5;
    else if (Array.isArray(value)) {
      for (let index = 0; index < value.length && characters <= max; index += 1) {
        characters += 1;
        visit(value[index]);
      }
    } else {
      for (const name in value) {
        // `as`: an object with string keys.
        characters += name.length + 4;
        visit((value as Record<string, unknown>)[name]);
        if (characters > max) return;
      }
    }
  };
  visit(response);
  return { characters, values, jsonCharacters };
}

/** Writes a response as JSON in pieces as the client reads it, and yields to the event loop between them. */
export async function* writeResponse(response: unknown): AsyncGenerator<Uint8Array, void> {
  const encoder = new TextEncoder();
  let buffer = '';
  for (const piece of piecesOf(response)) {
    buffer += piece;
    if (buffer.length < PIECE) continue;
    yield encoder.encode(buffer);
    buffer = '';
    await yieldEventLoop();
  }
  if (buffer !== '') yield encoder.encode(buffer);
}

function* piecesOf(value: unknown): Generator<string, void> {
  if (value instanceof JsonText) yield value.text;
  else if (typeof value !== 'object' || value === null || sizeOfResponse(value, PIECE).characters <= PIECE) {
    yield JSON.stringify(value);
  } else if (Array.isArray(value)) {
    yield '[';
    for (const [index, element] of value.entries()) {
      if (index > 0) yield ',';
      yield* piecesOf(element ?? null);
    }
    yield ']';
  } else {
    let separator = '{';
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined || typeof member === 'function') continue;
      yield `${separator}${JSON.stringify(name)}:`;
      yield* piecesOf(member);
      separator = ',';
    }
    yield separator === '{' ? '{}' : '}';
  }
}

/** Maximum bytes of the errors of one response as JSON: keeps the response to a bad request below 64 KiB. */
const MAX_BYTES = 48 * 1024;
const MAX_ERROR_BYTES = 8 * 1024;
const MAX_MESSAGE_LENGTH = 1_000;
/** Maximum locations of one error. */
const MAX_NODES = 10;

type Errors = { readonly errors?: readonly GraphQLError[] | undefined };

/** Shortens and limits the errors of a response: they quote text of the request. */
export function boundErrors<Result extends Errors>(result: Result): Result {
  const { errors } = result;
  if (errors === undefined) return result;
  const kept: GraphQLError[] = [];
  let bytes = 0;
  for (const error of errors) {
    const bounded = boundError(error);
    bytes += sizeOf(bounded);
    if (bytes > MAX_BYTES) {
      kept.push(createGraphQLError(`${errors.length - kept.length} more errors are omitted`));
      break;
    }
    kept.push(bounded);
  }
  return kept.every((error, index) => error === errors[index]) ? result : { ...result, errors: kept };
}

function boundError(error: GraphQLError): GraphQLError {
  const { message, nodes, path, extensions, source, positions } = error;
  const isShort = message.length <= MAX_MESSAGE_LENGTH && (nodes?.length ?? 0) <= MAX_NODES;
  if (isShort && sizeOf(error) <= MAX_ERROR_BYTES) return error;
  const text =
    message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed()}…` : message;
  const place = nodes === undefined ? { source, positions } : { nodes: nodes.slice(0, MAX_NODES) };
  const bounded = createGraphQLError(text, { ...place, path, extensions });
  if (sizeOf(bounded) <= MAX_ERROR_BYTES) return bounded;
  // Names in the path and the extensions also come from the client. `http` is the status, for Yoga.
  const { code, http } = extensions;
  return createGraphQLError(text.slice(0, 300).toWellFormed(), { extensions: { code, http } });
}

function sizeOf(error: GraphQLError): number {
  return Buffer.byteLength(JSON.stringify(error));
}
