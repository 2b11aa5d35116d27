import { type DeliverFigures, measureDelivering } from './deliver.ts';
import type { Context, Outcome } from './measurement.ts';

const DELIVERIES = 60_000;
const SUBSCRIPTIONS = 100;

/** Deliveries a second: events for one subscription each, and for ten. */
export async function measureThroughput(context: Context): Promise<Outcome> {
  const deliveries = context.size(DELIVERIES);
  const figures: DeliverFigures[] = [];
  for (const fanOut of [1, 10]) {
    figures.push(
      await measureDelivering(context, { events: deliveries / fanOut, fanOut, subscriptions: SUBSCRIPTIONS }),
    );
    await context.stopAll();
  }
  return { tables: [figures.map(rowOf), figures.map(cpuRowOf)], figures: { figures }, targets: [] };
}

function rowOf({ fanOut, deliveries, perSecond, databaseBytesPerDelivery, memory, doubled }: DeliverFigures) {
  return {
    'fan-out': String(fanOut),
    deliveries: String(deliveries),
    'a second': perSecond.toFixed(0),
    'bytes in Postgres, each': databaseBytesPerDelivery.toFixed(0),
    'program MiB': memory.program?.memoryMiB.toFixed(0) ?? '',
    'Postgres MiB': memory.Postgres?.memoryMiB.toFixed(0) ?? '',
    'nats-server MiB': memory['nats-server']?.memoryMiB.toFixed(0) ?? '',
    doubled: String(doubled),
  };
}

function cpuRowOf({ fanOut, cpuSecondsPer1000 }: DeliverFigures) {
  const kinds = Object.entries(cpuSecondsPer1000).map(([kind, seconds]) => [kind, seconds.toFixed(3)]);
  return { 'CPU s per 1,000, fan-out': String(fanOut), ...Object.fromEntries(kinds) };
}
