import { connectApi } from './api.ts';
import { follow, presentOfLog } from './follow.ts';
import { TAIL } from './operations.ts';
import { selectionOf } from './options.ts';
import type { Run } from './run.ts';

export const tail: Run<'tail'> = async (context, { values }) => {
  const { env, out } = context;
  const api = await connectApi(values, env);
  const filter = { ...selectionOf(values), statuses: values.failures === true ? ['FAILURE' as const] : undefined };
  await follow(context, {
    begin: () => (values.after === undefined ? presentOfLog(api, context.signal) : Promise.resolve(values.after)),
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
