import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { type ExecutionResult, GraphQLError } from 'graphql';
import { isAsyncIterable, mapAsyncIterator, type Plugin } from 'graphql-yoga';
import type { Context } from '../../schema/context.ts';
import { MAX_OPERATION_BYTES } from '../../lib/operation-work.ts';
import { sizeOfAnswer, writeAnswer } from './answer.ts';
import { boundErrors } from './bound-errors.ts';
import { type CpuShares, PRICES } from '../../auth/cpu-share.ts';
import type { ServerContext } from '../graphql.ts';
import { holderOf } from '../../auth/holder-count.ts';
import { tooManyOperations } from './too-many-operations.ts';

/** Limit of an answer that is written in one piece: over WebSocket, and each event of SSE. Takes some 20 ms. */
const MAX_WHOLE = 4 * 1024 * 1024;
/** Answers over HTTP beyond this are written as the client reads them. */
const MAX_AT_ONCE = 256 * 1024;
/** Limit of a tenant's answers over HTTP that its clients have not read yet. */
const MAX_UNREAD = 64 * 1024 * 1024;

type Answer = Parameters<typeof boundErrors>[0] & { readonly data?: unknown };

/** An answer that is written in one piece, or the error that it is too large for that. */
export function boundMessage<Result extends Answer>(result: Result): Result {
  return boundAnswer(result, MAX_WHOLE).result;
}

function boundAnswer<Result extends Answer>(result: Result, max: number) {
  const size = sizeOfAnswer(result.data, max);
  if (size.characters <= max) return { size, result: boundErrors(result) };
  const message = `the answer is longer than ${max} characters; ask for fewer rows, or for less of each`;
  const error = new GraphQLError(message, { extensions: { code: 'LIMIT_EXCEEDED', limit: 'answer', max } });
  return { size: { characters: 0, values: 0 }, result: { ...result, data: null, errors: [error] } };
}

/** Yoga makes it the body of its response, which may be a stream as well. */
function streamOf(answer: ExecutionResult): string {
  // `as`: Yoga's type knows of text alone.
  return Readable.from(writeAnswer(answer), { objectMode: false, highWaterMark: 1 }) as unknown as string;
}

/** Bounds how long answers are, and what of them waits for clients to read it. */
export function limitAnswers(cpuShares: CpuShares): Plugin<Context, ServerContext & { res?: ServerResponse }> {
  const unread = new Map<string, number>();
  const addUnread = (holder: string, characters: number) => {
    const sum = (unread.get(holder) ?? 0) + characters;
    if (sum === 0) unread.delete(holder);
    else unread.set(holder, sum);
  };
  return {
    onExecute: ({ args, setResultAndStopExecution }) => {
      // `as`: Yoga leaves the type of the context open.
      const holder = holderOf((args.contextValue as Context).viewer);
      if (holder === undefined || (unread.get(holder) ?? 0) <= MAX_UNREAD) return;
      const message = `at most ${MAX_UNREAD} characters of a tenant's answers can be unread`;
      setResultAndStopExecution({ errors: [tooManyOperations(message)] });
    },
    onSubscribe: ({ args }) => ({
      onSubscribeResult: () => ({
        onNext: () => {
          // `as`: as above.
          (args.contextValue as Context).work.renew();
        },
      }),
    }),
    onResultProcess: (hook) => {
      const { result, request, serverContext } = hook;
      if (Array.isArray(result)) return;
      if (isAsyncIterable(result)) {
        hook.setResult(mapAsyncIterator(result, boundMessage));
        return;
      }
      const isEvent = request.headers.get('accept')?.includes('text/event-stream') === true;
      const { size, result: bounded } = boundAnswer(result, isEvent ? MAX_WHOLE : MAX_OPERATION_BYTES);
      const { viewer, res } = serverContext;
      if (viewer !== undefined) {
        const { valueOfAnswer, characterOfAnswer } = PRICES;
        cpuShares(viewer)?.spend(size.values * valueOfAnswer + size.characters * characterOfAnswer);
        const holder = holderOf(viewer);
        if (holder !== undefined && res !== undefined && !res.closed) {
          addUnread(holder, size.characters);
          res.once('close', () => {
            addUnread(holder, -size.characters);
          });
        }
      }
      const isLong = size.characters > MAX_AT_ONCE && !isEvent;
      hook.setResult(isLong ? { ...bounded, stringify: streamOf } : bounded);
    },
  };
}
