import type { CpuShares } from './cpu-time.ts';
import { median } from './latency.ts';
import type { Backlog } from './sick-subscriptions.ts';
import type { TrafficSummary } from './traffic.ts';

/** The healthy subscriptions' events published from `from` until `to` (clockMs), summarised at the end of the block. */
export type Phase = TrafficSummary & {
  readonly kind: 'alone' | 'influx' | 'held';
  readonly from: number;
  readonly to: number;
  readonly cpu: CpuShares | undefined;
  /** Events that never arrived, not even after the sick subscriptions were deleted. */
  readonly lost: number;
};

export type Block = {
  readonly name: string;
  readonly phases: readonly Phase[];
  /** The backlog at the end of the influx and at the end of the block. */
  readonly backlog?: { readonly begin: Backlog; readonly end: Backlog };
};

/** The median of the blocks' p95, divided by the median of the p95 alone. */
export function ratioOf(blocks: readonly Block[], kind: Phase['kind']): number {
  return median(p95sOf(blocks, kind)) / median(p95sOf(blocks, 'alone'));
}

export function p95sOf(blocks: readonly Block[], kind: Phase['kind']): number[] {
  return blocks.flatMap(({ phases }) => phases.filter((phase) => phase.kind === kind).map(({ p95 }) => p95));
}

/** One row for each phase. */
export function rowsOf(blocks: readonly Block[]): Record<string, string>[] {
  return blocks.flatMap(({ name, phases, backlog }) =>
    phases.map((phase) => ({
      block: name,
      phase: phase.kind,
      seconds: ((phase.to - phase.from) / 1_000).toFixed(1),
      'cpu ours + others': describeCpu(phase.cpu),
      events: String(phase.events),
      'p50 ms': latency(phase, 50),
      'p95 ms': latency(phase, 95),
      'p99 ms': latency(phase, 99),
      'max ms': latency(phase, 100),
      '> 1 s': String(phase.late),
      missing: String(phase.missing),
      lost: String(phase.lost),
      'pending, begin → end': phase.kind === 'held' && backlog !== undefined ? describe(backlog) : '',
    })),
  );
}

/** Percent of all cores. Above this, the load of other programs distorts p95. */
const QUIET_PERCENT = 10;

export function conclusionsOf(blocks: readonly Block[]): string[] {
  const list = (kind: Phase['kind']) =>
    p95sOf(blocks, kind)
      .map((p95) => p95.toFixed(1))
      .join(', ');
  const others = Math.max(...blocks.flatMap(({ phases }) => phases.map(({ cpu }) => cpu?.othersPercent ?? 0)));
  return [
    `p95 alone:                ${list('alone')} ms`,
    `p95 beside the backlog:   ${list('held')} ms = ${ratioOf(blocks, 'held').toFixed(2)} ×`,
    `p95 during the influx:    ${list('influx')} ms = ${ratioOf(blocks, 'influx').toFixed(2)} ×`,
    ...(others > QUIET_PERCENT
      ? [`Other programs took up to ${others.toFixed(0)} % of the CPU: these figures are noisy.`]
      : []),
  ];
}

function describeCpu(cpu: CpuShares | undefined): string {
  return cpu === undefined ? '' : `${cpu.oursPercent.toFixed(0)} + ${cpu.othersPercent.toFixed(0)} %`;
}

/** Milliseconds, with `≥` if the percentile includes events that had not arrived. */
function latency(phase: Phase, percent: 50 | 95 | 99 | 100): string {
  const value = { 50: phase.p50, 95: phase.p95, 99: phase.p99, 100: phase.max }[percent];
  const isLowerBound = phase.events - phase.missing < Math.ceil((percent / 100) * phase.events);
  return `${isLowerBound ? '≥ ' : ''}${value.toFixed(1)}`;
}

function describe({ begin, end }: { readonly begin: Backlog; readonly end: Backlog }): string {
  return Object.entries(begin)
    .map(([kind, { pending }]) => `${kind} ${pending} → ${end[kind]?.pending ?? 0}`)
    .join(', ');
}
