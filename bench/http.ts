import { type DeliverFigures, measureDelivering } from './deliver.ts';
import type { Context, Outcome } from './measurement.ts';

const EVENTS = 60_000;
const SUBSCRIPTIONS = 100;
/** Ways to publish: over NATS, and with mutations of this number of events. */
const WAYS = { NATS: undefined, publishEvent: 1, 'publishEvents of 100': 100 } as const;

/** Measures deliveries a second of events that are published over GraphQL, as a part of those published to NATS. */
export async function measureHttp(context: Context): Promise<Outcome> {
  const figures: { readonly way: string; readonly figure: DeliverFigures }[] = [];
  for (const [way, mutationOf] of Object.entries(WAYS)) {
    context.report(`published with ${way}`);
    const options = { events: context.size(EVENTS), fanOut: 1, subscriptions: SUBSCRIPTIONS };
    figures.push({ way, figure: await measureDelivering(context, { ...options, ...(mutationOf && { mutationOf }) }) });
    await context.stopAll();
  }
  const perSecond = (way: keyof typeof WAYS) => figures.find((one) => one.way === way)?.figure.perSecond ?? Number.NaN;
  return {
    tables: [figures.map(({ way, figure }) => rowOf(way, figure))],
    notes: ['CPU in seconds for 1,000 deliveries'],
    figures: { figures },
    targets: [
      {
        name: 'http: throughput with publishEvent / over NATS',
        value: perSecond('publishEvent') / perSecond('NATS'),
        atLeast: 0.65,
      },
      {
        name: 'http: throughput with publishEvents of 100 / over NATS',
        value: perSecond('publishEvents of 100') / perSecond('NATS'),
        atLeast: 0.95,
      },
    ],
  };
}

function rowOf(way: string, { perSecond, cpuSecondsPer1000: cpu, doubled }: DeliverFigures): Record<string, string> {
  return {
    'published with': way,
    'deliveries a second': perSecond.toFixed(0),
    doubled: String(doubled),
    ...Object.fromEntries(
      (['program', 'Postgres', 'nats-server', 'publisher'] as const).map((kind) => [kind, (cpu[kind] ?? 0).toFixed(3)]),
    ),
  };
}
