/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { resolveCursorConnection } from '@pothos/plugin-relay';
import { type Considered, consideredSubscriptions } from '../database/considered-subscriptions.ts';
import { type ConsiderationResult, consider } from '../events/consider.ts';
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
    const rows = await consideredSubscriptions(context.services.database.readPool, {
      event,
      limit,
      order: inverted ? 'asc' : 'desc',
      // Newest first: what comes after has a smaller id.
      beforeId: after === undefined ? undefined : parseCursor(after, 'after'),
      afterId: before === undefined ? undefined : parseCursor(before, 'before'),
    });
    const readData = onDemand(
      async (): Promise<unknown> => JSON.parse((await context.eventData(event.id)).toString('utf8')),
    );
    return resultsOf(rows, { type: event.type, readData });
  });
}

type ReadEvent = { readonly type: string; readonly readData: () => Promise<unknown> };

async function resultsOf(rows: readonly Considered[], event: ReadEvent): Promise<Row[]> {
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
