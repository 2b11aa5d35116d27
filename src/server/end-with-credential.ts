import type { ExecutionResult } from 'graphql';
import { createGraphQLError, isAsyncIterable, type Plugin } from 'graphql-yoga';
import type { Context } from '../schema/context.ts';
import type { Viewer } from '../schema/viewer.ts';
import { whenAborted } from '../when-aborted.ts';
import type { Watch } from './live-credentials.ts';

/** Every live stream ends, with an error that says so, when the credential ends that it was opened with. */
export function endWithCredential(watch: (viewer: Viewer) => Watch): Plugin<Context> {
  return {
    onSubscribe: () => ({
      onSubscribeResult: ({ args, result, setResult }) => {
        if (!isAsyncIterable(result)) return;
        // Yoga types neither the context nor what comes out of a stream.
        const { viewer } = args.contextValue as Context;
        setResult(endedBy(watch(viewer), result as AsyncIterable<ExecutionResult>));
      },
    }),
  };
}

type Step = IteratorResult<ExecutionResult, undefined>;
const DONE: Step = { done: true, value: undefined };

/** Whoever reads it asks for one value after the other. */
function endedBy(
  { signal, release }: Watch,
  stream: AsyncIterable<ExecutionResult>,
): AsyncIterableIterator<ExecutionResult> {
  const source = stream[Symbol.asyncIterator]();
  let isOver = false;
  const isReadOn = () => !isOver;
  const hasEnded = () => signal.aborted;
  let interrupt: () => void = () => undefined;
  const forget = whenAborted(signal, () => {
    interrupt();
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
    return { done: false, value: { errors: [credentialEnded()] } };
  };
  return {
    next: async () => {
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
