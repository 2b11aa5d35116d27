import type { ExecutionResult, GraphQLError } from 'graphql';
import { createGraphQLError, isAsyncIterable, type Plugin } from 'graphql-yoga';
import type { Authenticate, CredentialWatch } from '../../auth/credentials.ts';
import type { Viewer } from '../../auth/viewer.ts';
import { whenAborted } from '../../lib/waiting.ts';
import type { Context } from '../../schema/context.ts';
import type { ServerContext } from '../graphql.ts';

/**
 * Ends a live stream over HTTP when its credential expires or is revoked: the last event is the error UNAUTHENTICATED,
 * and then the response is destroyed. There is no event `complete`, after which clients would not reconnect.
 * LiveSockets closes the whole WebSocket instead.
 */
export function endWithCredential(watch: (viewer: Viewer) => CredentialWatch): Plugin<Context> {
  return {
    onSubscribe: () => ({
      onSubscribeResult: ({ args, result, setResult }) => {
        if (!isAsyncIterable(result)) return;
        // Yoga types neither the context, to which its Node.js adapter adds the response, nor the values of a stream.
        const { viewer, isOverSocket, res } = args.contextValue as Context & ServerContext;
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
/** Milliseconds until the response is destroyed if the client does not read the last event. */
const CUT_AFTER_MS = 2_000;
const DONE: Step = { done: true, value: undefined };

/**
 * Requires a reader that requests one value at a time. Calls `cut` after the reader has received the error of the ended
 * credential.
 */
function endedBy(
  { signal, release, cut }: CredentialWatch & { readonly cut: () => void },
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
  const lastEvent = (): Step => {
    // Errors of closing are ignored, because the stream has no reader any longer.
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
      if (hasEnded()) return lastEvent();
      const step = await new Promise<IteratorResult<ExecutionResult>>((resolve, reject) => {
        interrupt = () => {
          resolve(DONE);
        };
        source.next().then(resolve, reject);
      });
      // This includes a value that arrived together with the end of the credential: the reader may no longer see it.
      if (hasEnded() && isReadOn()) return lastEvent();
      return step.done === true ? close() : step;
    },
    return: close,
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The response, over every transport, to operations with an ended credential. */
export function credentialEnded() {
  return createGraphQLError('these credentials have expired or been revoked', {
    extensions: { code: 'UNAUTHENTICATED' },
  });
}

/** Maximum bytes of a request without credentials whose body is read. */
const MAX_ANONYMOUS_BYTES = 2_048;

/** The credential of a request: its header, or else the one-time code that `exchangePortalCode` exchanges. */
async function credentialOf(request: Request): Promise<string | undefined> {
  const given = request.headers.get('authorization');
  const length = Number(request.headers.get('content-length') ?? 0);
  if (given !== null || request.method !== 'POST' || !(length > 0 && length <= MAX_ANONYMOUS_BYTES)) {
    return given ?? undefined;
  }
  const text = await request.clone().text();
  return text.includes('exchangePortalCode') ? /\bwhc_[\w-]{43}(?![\w-])/.exec(text)?.[0] : undefined;
}

const HINT = 'send the header `Authorization: Bearer <API key or JWT>` with a valid key or token';

/** Refuses requests without valid credentials, before the body is read unless it may contain a one-time code. */
export function requireViewer(
  authenticate: Authenticate,
  maskError: (error: unknown) => GraphQLError,
): Plugin<object, ServerContext> {
  return {
    onRequest: async (hook) => {
      const { request, serverContext, fetchAPI } = hook;
      if (serverContext.viewer !== undefined) return;
      const refuse = (status: number, error: object, headers: Record<string, string> = {}) => {
        const body = JSON.stringify({ errors: [error] });
        hook.endResponse(
          new fetchAPI.Response(body, { status, headers: { 'content-type': 'application/json', ...headers } }),
        );
      };
      try {
        const viewer = await authenticate(await credentialOf(request));
        if (viewer !== undefined) serverContext.viewer = viewer;
        else {
          const error = { message: HINT, extensions: { code: 'UNAUTHENTICATED' } };
          refuse(401, error, { 'www-authenticate': 'Bearer' });
        }
      } catch (error) {
        // The check itself failed. A 401 would make clients discard valid credentials.
        const masked = maskError(error);
        refuse(masked.extensions['code'] === 'SERVICE_UNAVAILABLE' ? 503 : 500, masked);
      }
    },
  };
}
