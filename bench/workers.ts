import { type DeliverFigures, measureDelivering } from './deliver.ts';
import type { Context, Outcome } from './measurement.ts';

const EVENTS = 60_000;
const SUBSCRIPTIONS = 100;
/** Values of WORKERS. With 0, the program is one process. */
const WORKERS = [0, 2, 4] as const;

/** Measures deliveries a second with one process, and with worker processes beside the main one. */
export async function measureProcesses(context: Context): Promise<Outcome> {
  const figures: { readonly workers: number; readonly figure: DeliverFigures }[] = [];
  for (const workers of WORKERS) {
    context.report(`WORKERS=${workers}`);
    const options = { events: context.size(EVENTS), fanOut: 1, subscriptions: SUBSCRIPTIONS };
    const figure = await measureDelivering(context, { ...options, env: { WORKERS: String(workers) } });
    figures.push({ workers, figure });
    await context.stopAll();
  }
  const one = figures[0]?.figure.perSecond ?? Number.NaN;
  return {
    tables: [figures.map(({ workers, figure }) => rowOf(workers, figure))],
    notes: ['CPU in seconds for 1,000 deliveries'],
    figures: { figures },
    targets: figures.slice(1).map(({ workers, figure }) => ({
      name: `processes: throughput with ${workers} workers / one process`,
      value: figure.perSecond / one,
      atLeast: 1,
    })),
  };
}

function rowOf(workers: number, { perSecond, cpuSecondsPer1000: cpu, doubled }: DeliverFigures) {
  return {
    WORKERS: String(workers),
    'deliveries a second': perSecond.toFixed(0),
    doubled: String(doubled),
    program: (cpu.program ?? 0).toFixed(3),
    Postgres: (cpu.Postgres ?? 0).toFixed(3),
    'nats-server': (cpu['nats-server'] ?? 0).toFixed(3),
  };
}
