import { type MetricValues, mergeMetrics } from '../server/metrics.ts';

/** Cumulative kinds of metrics. prom-client's type of `type` is an enum of numbers, but the values are names. */
const COUNTED: ReadonlySet<string> = new Set(['counter', 'histogram']);

/**
 * The metric values of a worker over all of its processes. When a process ends, the counts of its last report are kept,
 * because Prometheus would treat a decreasing counter as a restart of all processes.
 */
export class AccumulatedMetrics {
  #ended: MetricValues = [];
  #last: MetricValues | undefined;

  /** Returns the values to expose. `values`: the report of the running process; undefined if it has not answered. */
  with(values: MetricValues | undefined): readonly MetricValues[] {
    this.#last = values ?? this.#last;
    return this.#last === undefined ? [this.#ended] : [this.#ended, this.#last];
  }

  /** Call this when the process has ended. */
  async retire(): Promise<void> {
    const counted = this.#last?.filter(({ type }) => COUNTED.has(String(type))) ?? [];
    this.#last = undefined;
    this.#ended = await mergeMetrics([this.#ended, counted]).getMetricsAsJSON();
  }
}
