import type { ServerResponse } from 'node:http';
import type { ExecutionResult, GraphQLError } from 'graphql';
import { createGraphQLError, isAsyncIterable, type Plugin } from 'graphql-yoga';
import type { Authenticate, Watch } from '../../auth/credentials.ts';
import type { Viewer } from '../../auth/viewer.ts';
import { whenAborted } from '../../lib/loop.ts';
import type { Context } from '../../schema/context.ts';
import type { ServerContext } from '../graphql.ts';

/**
 * Every live stream over HTTP ends when the credential ends that it was opened with: the last event is an error that says
 * so, and then the response is cut. Without the event `complete`, which would tell the client that nothing more is to
 * come, and not to connect again. A WebSocket is closed as a whole instead (LiveSockets), and says nothing before that.
 */
export function endWithCredential(watch: (viewer: Viewer) => Watch): Plugin<Context> {
  return {
    onSubscribe: () => ({
      onSubscribeResult: ({ args, result, setResult }) => {
        if (!isAsyncIterable(result)) return;
        // Yoga types neither the context, to which its adapter for Node adds the response, nor what comes out of a stream.
        const { viewer, isOverSocket, res } = args.contextValue as Context & ServerContext & { res?: ServerResponse };
        if (isOverSocket === true) return;
        const cut = () => {
          res?.destroy();
        };
        setResult(endedBy({ ...watch(viewer), cut }, result as AsyncIterable<ExecutionResult>));
      },
    }),
  };
}

type Step = IteratorResult<ExecutionResult, undefined>;
/** A client that does not read its stream does not get the last event. */
const CUT_AFTER_MS = 2_000;
const DONE: Step = { done: true, value: undefined };

/** Its reader asks for one value after the other. `cut` is called after the last one of a credential that has ended. */
function endedBy(
  { signal, release, cut }: Watch & { readonly cut: () => void },
  stream: AsyncIterable<ExecutionResult>,
): AsyncIterableIterator<ExecutionResult> {
  const source = stream[Symbol.asyncIterator]();
  let isOver = false;
  let isToBeCut = false;
  const isReadOn = () => !isOver;
  const hasEnded = () => signal.aborted;
  let interrupt: () => void = () => undefined;
  let timer: NodeJS.Timeout | undefined;
  const forget = whenAborted(signal, () => {
    interrupt();
    timer = setTimeout(cut, CUT_AFTER_MS).unref();
  });
  const close = async (): Promise<Step> => {
    isOver = true;
    forget();
    release();
    await source.return?.();
    return DONE;
  };
  const lastWord = (): Step => {
    // What the stream was waiting for comes to nobody any more.
    close().catch(() => undefined);
    isToBeCut = true;
    return { done: false, value: { errors: [credentialEnded()] } };
  };
  return {
    next: async () => {
      if (isToBeCut) {
        clearTimeout(timer);
        cut();
      }
      if (!isReadOn()) return DONE;
      if (hasEnded()) return lastWord();
      const step = await new Promise<IteratorResult<ExecutionResult>>((resolve, reject) => {
        interrupt = () => {
          resolve(DONE);
        };
        source.next().then(resolve, reject);
      });
      // Also where a value and the end came together: it is not for this reader any more.
      if (hasEnded() && isReadOn()) return lastWord();
      return step.done === true ? close() : step;
    },
    return: close,
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** Over every transport, and for whatever is asked with a credential that has ended. */
export function credentialEnded() {
  return createGraphQLError('these credentials have expired or been revoked', {
    extensions: { code: 'UNAUTHENTICATED' },
  });
}

const HINT = 'send the header `Authorization: Bearer <API key or JWT>`, with one that is valid';

/** Nobody gets in without credentials; this is before anything of the request is read. */
export function requireViewer(
  authenticate: Authenticate,
  maskError: (error: unknown) => GraphQLError,
): Plugin<object, ServerContext> {
  return {
    onRequest: async (hook) => {
      const { request, serverContext, fetchAPI } = hook;
      const refuse = (status: number, error: object, headers: Record<string, string> = {}) => {
        const body = JSON.stringify({ errors: [error] });
        hook.endResponse(
          new fetchAPI.Response(body, { status, headers: { 'content-type': 'application/json', ...headers } }),
        );
      };
      try {
        const viewer = await authenticate(request.headers.get('authorization') ?? undefined);
        if (viewer !== undefined) serverContext.viewer = viewer;
        else {
          const error = { message: HINT, extensions: { code: 'UNAUTHENTICATED' } };
          refuse(401, error, { 'www-authenticate': 'Bearer' });
        }
      } catch (error) {
        // It could not be found out: that is our fault, and no reason to throw credentials away.
        const masked = maskError(error);
        refuse(masked.extensions['code'] === 'SERVICE_UNAVAILABLE' ? 503 : 500, masked);
      }
    },
  };
}
