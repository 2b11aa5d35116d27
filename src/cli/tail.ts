import { setTimeout as delay } from 'node:timers/promises';
import { type Api, connectApi, InterruptedError } from './api.ts';
import { TAIL } from './operations.ts';
import type { Context, Run } from './run.ts';

const RECONNECT_MS = 1_000;

export const tail: Run<'tail'> = async (context, { values }) => {
  const { env, out } = context;
  const api = await connectApi(values, env);
  const filter = {
    tenant: values.tenant,
    subscriptionIds: values.subscription,
    eventTypes: values.type,
    ...(values.failures === true && { statuses: ['FAILURE' as const] }),
  };
  await follow(context, {
    after: values.after,
    open: (after) => api.watch(TAIL, { variables: { filter, after }, signal: context.signal }),
    onValue: ({ deliveryLog: attempt }) => {
      out.line(attempt, describe(attempt));
      return attempt.cursor;
    },
  });
  return 0;
};

type Watched<Document> = Document extends { __apiType?: (variables: never) => infer Data } ? Data : never;
type Attempt = Watched<typeof TAIL>['deliveryLog'];

function describe(attempt: Attempt): string {
  const { startedAt, tenant, eventType, number, status, statusCode, failureReason, responseTimeMs } = attempt;
  const result = statusCode === null ? (failureReason ?? '') : `HTTP ${statusCode ?? ''}`;
  const what = `${tenant} ${eventType} #${number}${attempt.isTest ? ' (test)' : ''}`;
  return `${startedAt}  ${status}  ${result}  ${responseTimeMs} ms  ${what}  ${attempt.subscription.url}`;
}

type Following<Value> = {
  readonly after?: string | undefined;
  readonly open: (after: string | undefined) => ReturnType<Api['watch']> & AsyncIterable<Value>;
  /** Returns the cursor to continue from, if the stream has cursors. */
  readonly onValue: (value: Value) => Promise<string> | string | undefined;
  /** Whether the stream has ended with its last value. Left out: it never ends. */
  readonly isOver?: () => boolean;
};

/**
 * Reads a live stream until it is over or the signal aborts. After an interruption it reconnects and continues after the
 * last value.
 */
export async function follow<Value>(
  { out, signal }: Pick<Context, 'out' | 'signal'>,
  { after, open, onValue, isOver = () => false }: Following<Value>,
): Promise<void> {
  let cursor = after;
  let isInterrupted = false;
  while (!signal.aborted && !isOver()) {
    try {
      for await (const value of open(cursor)) {
        if (isInterrupted) out.note('Connected again.');
        isInterrupted = false;
        cursor = await onValue(value);
      }
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error;
      if (!isInterrupted) out.note(`Interrupted: ${error.message}; reconnecting every second.`);
      isInterrupted = true;
    }
    if (!isOver()) await delay(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
  }
}
