import { connectApi, payloadOf } from './api.ts';
import { usageError } from './failure.ts';
import { follow } from './follow.ts';
import { REPLAY_PROGRESS, START_REPLAY } from './operations.ts';
import { parseTime, readOneOf, selectionOf } from './options.ts';
import type { Run } from './run.ts';

const STATUSES = ['SUCCESS', 'FAILURE', 'CANCELLED', 'PENDING'] as const;

export const replay: Run<'replay'> = async ({ env, out, signal }, { values }) => {
  const filter = {
    ...selectionOf(values),
    statuses: values.status?.map((text) => readOneOf('--status', STATUSES, text)),
    from: parseTime('--from', values.from),
    to: parseTime('--to', values.to),
  };
  const input = { filter, dryRun: values['dry-run'] === true, ratePerSecond: parseRate(values.rate) };
  const api = await connectApi(values, env);
  let { replay: current } = payloadOf((await api.request(START_REPLAY, { input })).startReplay);
  if (values['no-wait'] !== true) {
    await follow(
      { out, signal },
      {
        isOver: () => current.status !== 'RUNNING',
        open: () => api.watch(REPLAY_PROGRESS, { variables: { id: current.id }, signal }),
        onValue: ({ replayProgress }) => {
          current = replayProgress;
          const { replayedCount, skippedCount, deliveryCount } = current;
          out.note(`${replayedCount + skippedCount} of ${deliveryCount}`);
          return undefined;
        },
      },
    );
  }
  const { id, tenant, status, deliveryCount, replayedCount, skippedCount, ratePerSecond } = current;
  out.rows([{ id, tenant, status, deliveryCount, replayedCount, skippedCount, ratePerSecond }]);
  return 0;
};

function parseRate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,6}$/.test(text)) throw usageError('--rate must be a whole number of deliveries per second.');
  return Number(text);
}
