import { connectApi, payloadOf } from './api.ts';
import { usageError } from './failure.ts';
import { REPLAY_PROGRESS, START_REPLAY } from './operations.ts';
import type { Run } from './run.ts';
import { follow } from './tail.ts';

const STATUSES = ['SUCCESS', 'FAILURE', 'CANCELLED', 'PENDING'] as const;

export const replay: Run<'replay'> = async ({ env, out, signal }, { values }) => {
  const filter = {
    tenant: values.tenant,
    subscriptionIds: values.subscription,
    eventTypes: values.type,
    statuses: values.status?.map(parseStatus),
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

function parseStatus(text: string): (typeof STATUSES)[number] {
  const status = STATUSES.find((name) => name === text.toUpperCase());
  if (status === undefined) throw usageError(`--status must be one of ${STATUSES.join(', ')}.`);
  return status;
}

function parseRate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,6}$/.test(text)) throw usageError('--rate must be a whole number of deliveries per second.');
  return Number(text);
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time in ISO 8601, or a duration before now such as `6h`. */
export function parseTime(option: string, text: string | undefined, now = Date.now()): string | undefined {
  if (text === undefined) return undefined;
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return new Date(now - Number(count) * (UNITS_MS[unit] ?? 0)).toISOString();
  if (!/^\d{4}-\d{2}-\d{2}T/.test(text) || Number.isNaN(Date.parse(text))) {
    throw usageError(`${option} must be a time in ISO 8601 with its zone, or a duration before now such as 6h.`);
  }
  return text;
}
