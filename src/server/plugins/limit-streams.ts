import type { ExecutionResult } from 'graphql';
import { isAsyncIterable, type Plugin } from 'graphql-yoga';
import { type InFlight, trackValues } from '../../lib/in-flight.ts';
import type { Context } from '../../schema/context.ts';
import { createHolderCount } from '../../auth/holder-count.ts';
import { tooManyOperations } from './too-many-operations.ts';

const MAX_STREAMS = 10_000;
/** Each may keep 1,000 attempts in memory, and all of them are compared with every attempt. */
const MAX_STREAMS_PER_HOLDER = 1_000;

/** So many live streams are open at a time, over whatever transport. */
export function limitStreams(): Plugin<Context> {
  const streams = createHolderCount({ max: MAX_STREAMS, maxPerHolder: MAX_STREAMS_PER_HOLDER });
  return {
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      // `as`: Yoga leaves the type of the context open.
      const release = streams.take((args.contextValue as Context).viewer);
      if (release === undefined) {
        const message = `at most ${MAX_STREAMS_PER_HOLDER} live streams of a tenant can be open`;
        setResultAndStopExecution({ errors: [tooManyOperations(message)] });
        return undefined;
      }
      return {
        onSubscribeResult: ({ result }) => {
          if (!isAsyncIterable(result)) {
            release();
            return undefined;
          }
          return { onEnd: release };
        },
        onSubscribeError: release,
      };
    },
  };
}

/** A stop waits for the fields of a value that is being computed; a transport that is closed does not. */
export function trackStreams(operations: InFlight): Plugin<Context> {
  return {
    onSubscribe: () => ({
      onSubscribeResult: ({ result, setResult }) => {
        // `as`: Yoga leaves the type of the values open.
        if (isAsyncIterable(result)) setResult(trackValues(operations, result as AsyncIterable<ExecutionResult>));
      },
    }),
  };
}
