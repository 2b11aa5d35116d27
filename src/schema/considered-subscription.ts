/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { resolveCursorConnection } from '@pothos/plugin-relay';
import { type Considered, consideredSubscriptions } from '../events/matching/considered-subscriptions.ts';
import { type ConsiderationResult, consider } from '../events/matching/consider.ts';
import { compileFilter } from '../events/matching/payload-filter.ts';
import type { Event } from '../generated/prisma/client.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryType } from './delivery.ts';
import { PAGE, type PageArguments, parseCursor } from './page.ts';
import { WebhookSubscriptionType } from './webhook-subscription.ts';

const ConsiderationResultEnum = builder.enumType('ConsiderationResult', {
  description: 'Why a webhook subscription did or did not get an event.',
  values: {
    DELIVERED_TO: { description: 'A delivery to it was made, whatever became of that.' },
    INACTIVE: { description: 'It was inactive.' },
    TYPE_MISMATCH: { description: 'It was active, but the type of the event matches none of the types it wanted.' },
    FILTER_FALSE: { description: 'It was active and wanted the type, but the data does not fulfil its filter.' },
  },
});

type Row = {
  readonly subscriptionId: string;
  readonly result: ConsiderationResult;
  readonly deliveryId: string | null;
};

export const ConsideredSubscription = builder.objectRef<Row>('ConsideredSubscription').implement({
  description: 'A webhook subscription that an event was matched with, and what came of it.',
  fields: (t) => ({
    subscription: t.prismaField({
      type: WebhookSubscriptionType,
      description: 'As it is now, also if it has been deleted since.',
      resolve: (query, { subscriptionId }, _args, { services }) =>
        services.database.prisma.webhookSubscription.findUniqueOrThrow({ ...query, where: { id: subscriptionId } }),
    }),
    result: t.expose('result', { type: ConsiderationResultEnum }),
    delivery: t.prismaField({
      type: DeliveryType,
      nullable: true,
      description: 'The first one, if there are several. Null if none was made, or if it is not kept any more.',
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

type ConsideredEvent = Pick<Event, 'id' | 'tenant' | 'type' | 'matchedVersion'>;

/** A page of them. The event is one that the viewer may see. */
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
      consideredSubscriptions(context.services.database.readPool, {
        event,
        limit,
        order: inverted ? 'asc' : 'desc',
        // Newest first: what comes after has a smaller id.
        beforeId: after === undefined ? undefined : parseCursor(after, 'after'),
        afterId: before === undefined ? undefined : parseCursor(before, 'before'),
      }),
    );
    const { compute } = context.work;
    const readData = onDemand(async (): Promise<unknown> => {
      const { text } = await context.eventData(event.id);
      return compute((): unknown => JSON.parse(text));
    });
    return resultsOf(rows, {
      type: event.type,
      fulfils: async (filter) => {
        const data = await readData();
        return compute(() => compileFilter(filter)(data));
      },
    });
  });
}

async function resultsOf(rows: readonly Considered[], event: Parameters<typeof consider>[1]): Promise<Row[]> {
  const results: Row[] = [];
  for (const { subscriptionId, settings, deliveryId } of rows) {
    // A delivery that was made later, by name, counts as well; of one that was not kept the settings tell.
    const result = deliveryId !== null || settings === null ? 'DELIVERED_TO' : await consider(settings, event);
    results.push({ subscriptionId, result, deliveryId });
  }
  return results;
}

/** Data can be a megabyte: it is read when a filter asks for it, and then once. */
function onDemand<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => (reading ??= read());
}
