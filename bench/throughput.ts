import { type DeliverFigures, measureDelivering } from './deliver.ts';
import { floorRows, measureFloors } from './floor.ts';
import type { Context, Outcome } from './measurement.ts';

const DELIVERIES = 60_000;
const SUBSCRIPTIONS = 100;

/** Measures deliveries a second, with events for one subscription each, then for ten. */
export async function measureThroughput(context: Context): Promise<Outcome> {
  const deliveries = context.size(DELIVERIES);
  const figures: DeliverFigures[] = [];
  for (const fanOut of [1, 10]) {
    const options = { events: deliveries / fanOut, fanOut, subscriptions: SUBSCRIPTIONS };
    figures.push(await measureDelivering(context, options));
    await context.stopAll();
  }
  const floors = await measureFloors(await context.startStack(), { events: deliveries, report: context.report });
  const perSecond = figures[0]?.perSecond ?? Number.NaN;
  const floorOf = (name: string) => floors.find((floor) => floor.name === name);
  const ratioTo = (name: string) => perSecond / (floorOf(name)?.perSecond ?? Number.NaN);
  const { program = Number.NaN, Postgres = 0, 'nats-server': nats = 0 } = figures[0]?.cpuSecondsPer1000 ?? {};
  const ours = program + Postgres + nats;
  const cpuOfGot = floorOf('got')?.cpuSecondsPer1000['sender'] ?? Number.NaN;
  return {
    tables: [figures.map(rowOf), figures.map(cpuRowOf), floorRows(floors)],
    figures: { figures, floors },
    targets: [
      { name: 'throughput: as a multiple of BullMQ', value: ratioTo('BullMQ, fan-out 1'), atLeast: 2 },
      { name: 'throughput: as a part of the bare got loop', value: ratioTo('got'), atLeast: 0.5 },
      { name: 'throughput: CPU of our parts, in requests of got', value: ours / cpuOfGot, atMost: 3.2 },
    ],
  };
}

function rowOf(figures: DeliverFigures) {
  const { fanOut, deliveries, perSecond, databaseBytesPerDelivery, walBytesPerDelivery, memory, doubled } = figures;
  return {
    'fan-out': String(fanOut),
    deliveries: String(deliveries),
    'a second': perSecond.toFixed(0),
    'bytes in Postgres, each': databaseBytesPerDelivery.toFixed(0),
    'WAL, each': walBytesPerDelivery.toFixed(0),
    'program MiB': memory.program?.memoryMiB.toFixed(0) ?? '',
    'Postgres MiB': memory.Postgres?.memoryMiB.toFixed(0) ?? '',
    'nats-server MiB': memory['nats-server']?.memoryMiB.toFixed(0) ?? '',
    doubled: String(doubled),
  };
}

function cpuRowOf({ fanOut, cpuSecondsPer1000 }: DeliverFigures) {
  const kinds = Object.entries(cpuSecondsPer1000).map(([kind, seconds]) => [kind, seconds.toFixed(3)] as const);
  return { 'CPU s per 1,000, fan-out': String(fanOut), ...Object.fromEntries(kinds) };
}
