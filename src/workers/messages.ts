import type { Config } from '../config/config.ts';
import type { Infrastructure } from '../infrastructure.ts';
import type { MetricValues } from '../server/metrics.ts';

/** The first message to a worker process. */
export type StartMessage = {
  readonly kind: 'start';
  /** From 1; a worker that is restarted keeps its number. */
  readonly number: number;
  readonly config: Config;
  readonly infrastructure: Infrastructure;
};

/** The requests of the main process to a worker, by name, with the type of each response. */
export type Answers = {
  readonly metrics: MetricValues;
  /** Current problems of the worker, one sentence each. */
  readonly problems: readonly string[];
};
export type Question = keyof Answers;

export type Asked = { readonly kind: 'ask'; readonly id: number; readonly question: Question };

export type ToWorker = StartMessage | Asked | { readonly kind: 'stop' };

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answers[Question] };
