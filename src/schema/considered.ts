import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { resolveCursorConnection } from '@pothos/plugin-relay';
import {
  type ExplainedSubscription,
  explainedSubscriptions,
  explainMatch,
  type MatchResult,
} from '../events/matching/explain.ts';
import { compileFilter } from '../events/matching/filter.ts';
import type { Event } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryType } from './delivery.ts';
import { PAGE, type PageArguments, parseCursor } from './page.ts';
import { WebhookSubscriptionType } from './webhook-subscription.ts';

const ConsiderationResultEnum = builder.enumType('ConsiderationResult', {
  description: 'The reason why a webhook subscription did or did not get an event.',
  values: {
    DELIVERED_TO: { description: 'A delivery to the webhook subscription was created.' },
    INACTIVE: { description: 'The webhook subscription was inactive.' },
    TYPE_MISMATCH: {
      description: 'The webhook subscription was active, but the event type matches none of its event types.',
    },
    FILTER_FALSE: {
      description:
        'The webhook subscription was active and the event type matches, but the data does not match its filter.',
    },
    DATA_REDACTED: {
      description:
        'The webhook subscription was active, the event type matches, and it has a filter. Whether the data matched is unknown, because the data was redacted and no delivery is kept.',
    },
  },
});

type Row = {
  readonly subscriptionId: string;
  readonly result: MatchResult;
  readonly deliveryId: string | null;
};

export const ConsideredSubscription = builder.objectRef<Row>('ConsideredSubscription').implement({
  description: 'The result of matching an event with a webhook subscription.',
  fields: (t) => ({
    subscription: t.prismaField({
      type: WebhookSubscriptionType,
      description: 'The webhook subscription as it is now, even if it has been deleted.',
      resolve: (query, { subscriptionId }, _args, { services }) =>
        services.database.prisma.webhookSubscription.findUniqueOrThrow({ ...query, where: { id: subscriptionId } }),
    }),
    result: t.expose('result', { type: ConsiderationResultEnum }),
    delivery: t.prismaField({
      type: DeliveryType,
      nullable: true,
      description: 'The first delivery. Null if none was created, or if it is no longer kept.',
      resolve: (query, { deliveryId }, _args, { services }) =>
        deliveryId === null
          ? null
          : services.database.prisma.delivery.findUnique({ ...query, where: { id: deliveryId } }),
    }),
  }),
});

export const ConsideredEdge = builder.edgeObject({ name: 'ConsideredSubscriptionEdge', type: ConsideredSubscription });
export const ConsideredConnection = builder.connectionObject(
  { name: 'ConsideredSubscriptionConnection', type: ConsideredSubscription },
  ConsideredEdge,
);

type ConsideredEvent = Pick<Event, 'id' | 'tenant' | 'type' | 'matchedVersion' | 'redactedAt'>;

/** A page of the subscriptions that the event was matched with. The viewer must be allowed to read the event. */
export function considered(
  context: Context,
  { event, args }: { readonly event: ConsideredEvent; readonly args: PageArguments },
) {
  const options = {
    args,
    defaultSize: PAGE.defaultSize,
    maxSize: PAGE.maxSize(args),
    toCursor: ({ subscriptionId }: Row) => formatPrismaCursor({ id: subscriptionId }, 'id'),
  };
  return resolveCursorConnection<Promise<Row[]>>(options, async ({ before, after, limit, inverted }) => {
    const rows = await context.work.readPage(() =>
      explainedSubscriptions(context.services.database.readPool, {
        event,
        limit,
        order: inverted ? 'asc' : 'desc',
        // Newest first: rows after a cursor have smaller ids.
        beforeId: after === undefined ? undefined : parseCursor(after, 'after'),
        afterId: before === undefined ? undefined : parseCursor(before, 'before'),
      }),
    );
    const { compute } = context.work;
    const readData = onDemand(async (): Promise<unknown> => {
      const text = await context.eventData.text(event.id);
      return compute((): unknown => JSON.parse(text));
    });
    return resultsOf(rows, {
      type: event.type,
      fulfils: async (filter) => {
        if (event.redactedAt !== null) return undefined;
        const data = await readData();
        return compute(() => compileFilter(filter)(data));
      },
    });
  });
}

async function resultsOf(
  rows: readonly ExplainedSubscription[],
  event: Parameters<typeof explainMatch>[1],
): Promise<Row[]> {
  const results: Row[] = [];
  for (const { subscriptionId, settings, deliveryId } of rows) {
    // A later delivery, such as one of `deliverEvents`, also counts. If it is no longer kept, the settings determine
    // the result.
    const result = deliveryId !== null || settings === null ? 'DELIVERED_TO' : await explainMatch(settings, event);
    results.push({ subscriptionId, result, deliveryId });
  }
  return results;
}

/** Reads at the first call and returns the same result at later calls. Data can be a megabyte. */
function onDemand<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => (reading ??= read());
}
