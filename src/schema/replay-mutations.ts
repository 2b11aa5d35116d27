import { ReplayNotRunningError, ReplayTooLargeError, TooManyReplaysError } from '../replays/replay-errors.ts';
import { cancelReplay, problemsOfRate, startReplay } from '../replays/replays.ts';
import { InvalidInputError, NotFoundError } from '../lib/webhook-subscription-errors.ts';
import type { Replay } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import type { DeliveryFilter } from '../delivery-log/delivery-filter.ts';
import { deliveryWhere } from '../delivery-log/delivery-filter-where.ts';
import { DeliveryFilterInput } from './filter-inputs.ts';
import { ownDeliveryFilter } from '../delivery-log/own-delivery-filter.ts';
import { ReplayType } from './replay.ts';
import { storeFilter } from '../delivery-log/replay-filter.ts';
import { readTenant, tenantScope } from '../auth/viewer.ts';

const DEFAULT_RATE = 50;

const StartInput = builder.inputType('StartReplayInput', {
  description: 'Which past deliveries to send again, and how fast.',
  fields: (t) => ({
    filter: t.field({
      type: DeliveryFilterInput,
      required: true,
      description:
        'The deliveries that the query `deliveries` has for it, of those that exist now; none of their fields has to be given, but for `tenant` with the admin key. Each event of them is sent once more to each subscription of them; test events are left out.',
    }),
    dryRun: t.boolean({ defaultValue: false, description: 'Only count.' }),
    ratePerSecond: t.int({
      defaultValue: DEFAULT_RATE,
      description: 'How many new deliveries to make per second at most, from 1 to 1000.',
    }),
  }),
});

const StartPayload = payload('StartReplayPayload', 'The replay runs, or has counted if it is a dry run.');
const CancelPayload = payload('CancelReplayPayload', 'The replay makes no more deliveries.');

builder.mutationFields((t) => ({
  startReplay: t.field({
    type: StartPayload,
    description: 'Sends past events again, as new deliveries, to the webhook subscriptions that are still active.',
    args: { input: t.arg({ type: StartInput, required: true, description: 'What to send again, and how fast.' }) },
    errors: { types: [InvalidInputError, TooManyReplaysError, ReplayTooLargeError] },
    resolve: async (_root, { input }, context) => ({ replay: await start(context, input) }),
  }),
  cancelReplay: t.field({
    type: CancelPayload,
    description: 'The deliveries that it has made are not cancelled.',
    args: { id: t.arg.id({ required: true, description: 'Of the replay.' }) },
    errors: { types: [NotFoundError, ReplayNotRunningError] },
    resolve: async (_root, { id }, { services, viewer }) => ({
      replay: await cancelReplay(services.database, { id, tenant: tenantScope(viewer) }),
    }),
  }),
}));

type StartReplay = {
  readonly filter: DeliveryFilter;
  readonly dryRun?: boolean | null | undefined;
  readonly ratePerSecond?: number | null | undefined;
};

async function start(context: Context, { dryRun, ratePerSecond, ...input }: StartReplay): Promise<Replay> {
  const rate = ratePerSecond ?? DEFAULT_RATE;
  const problems = problemsOfRate(rate);
  const { tenant, tenantProblem } = readTenant(context.viewer, input.filter.tenant);
  if (tenant === undefined && tenantProblem === undefined) {
    problems.push({ path: 'filter.tenant', message: 'is required: a replay belongs to one tenant' });
  }
  const filter = await ownDeliveryFilter(context, input.filter, problems);
  if (tenant === undefined) throw new Error('a replay without a tenant was accepted');
  return startReplay(context.services.database, {
    ...{ tenant, filter: storeFilter(filter), where: deliveryWhere(filter) },
    ...{ dryRun: dryRun ?? false, ratePerSecond: rate },
  });
}

function payload(name: string, description: string) {
  return builder.objectRef<{ readonly replay: Replay }>(name).implement({
    description,
    fields: (t) => ({ replay: t.field({ type: ReplayType, resolve: ({ replay }) => replay }) }),
  });
}
