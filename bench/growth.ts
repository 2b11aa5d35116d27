import { type DeliverFigures, measureDelivering } from './deliver.ts';
import type { Context, Outcome } from './measurement.ts';

const EVENTS = 60_000;

/** Measures throughput with 1 to 100,000 subscriptions. Each event is for one of them, round-robin. */
export async function measureGrowth(context: Context): Promise<Outcome> {
  const few = 100;
  const many = context.size(100_000);
  const events = context.size(EVENTS);
  const figures: DeliverFigures[] = [];
  for (const subscriptions of [1, few, context.size(10_000), many]) {
    figures.push(await measureDelivering(context, { events, fanOut: 1, subscriptions }));
    await context.stopAll();
  }
  const perSecond = (subscriptions: number) =>
    figures.find((figure) => figure.subscriptions === subscriptions)?.perSecond ?? Number.NaN;
  return {
    tables: [figures.map((figure) => rowOf(figure))],
    figures: { figures },
    targets: [
      { name: `growth: ${many} subscriptions / ${few}`, value: perSecond(many) / perSecond(few), atLeast: 0.95 },
    ],
  };
}

function rowOf({ subscriptions, perSecond, memory }: DeliverFigures): Record<string, string> {
  return {
    subscriptions: String(subscriptions),
    'deliveries a second': perSecond.toFixed(0),
    'program MiB': memory.program?.memoryMiB.toFixed(0) ?? '',
  };
}
