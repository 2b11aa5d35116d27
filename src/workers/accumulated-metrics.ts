import { type MetricValues, mergeMetrics } from '../server/metrics.ts';

/** Kinds of metrics that only grow. The type of prom-client says numbers; the values are names. */
const COUNTED: ReadonlySet<string> = new Set(['counter', 'histogram']);

/**
 * The values of a worker. When its process ends, what it had counted when it was last asked stays, because a counter that
 * falls looks to Prometheus like a restart of all processes.
 */
export class AccumulatedMetrics {
  #ended: MetricValues = [];
  #last: MetricValues | undefined;

  /** The values to show, given the new ones of the running process; undefined: it has not answered. */
  with(values: MetricValues | undefined): readonly MetricValues[] {
    this.#last = values ?? this.#last;
    return this.#last === undefined ? [this.#ended] : [this.#ended, this.#last];
  }

  /** The process has ended. */
  async retire(): Promise<void> {
    const counted = this.#last?.filter(({ type }) => COUNTED.has(String(type))) ?? [];
    this.#last = undefined;
    this.#ended = await mergeMetrics([this.#ended, counted]).getMetricsAsJSON();
  }
}
