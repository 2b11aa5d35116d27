import { setTimeout as delay } from 'node:timers/promises';
import { clockMs } from './clock.ts';
import { type LatencySummary, summarise } from './latency.ts';
import type { ReceiverMessage } from './receiver.ts';
import { waitUntil } from './wait-until.ts';
import type { WatcherMessage } from './watcher.ts';

/** The times of one event's publish, its arrival and its receipt by watchers of the log, in milliseconds of clockMs. */
type Sent = { readonly sentAt: number; arrivedAt?: number; duplicates: number; readonly seenAt: number[] };

/** The latencies and counts of published events. */
export type TrafficSummary = LatencySummary & {
  /** Events that took longer than LATE_MS. */
  readonly late: number;
  /** Events that have not arrived. */
  readonly missing: number;
  /** Requests beyond one for each event. */
  readonly duplicates: number;
};

/** Publishes an event whose `webhook-id` is this number. Rejects if the publish fails. */
type Publish = (number: number) => Promise<unknown>;

const MAX_UNCONFIRMED = 1_000;
const LATE_MS = 1_000;
const GRACE_MS = 5_000;

/** Publishes events at a constant rate and records when each arrives. */
export class Traffic {
  readonly #publishOne: Publish;
  readonly #perSecond: number;
  readonly #sent: Sent[] = [];
  readonly #unconfirmed = new Set<Promise<unknown>>();
  #failure: unknown;

  constructor(publish: Publish, { perSecond }: { readonly perSecond: number }) {
    this.#publishOne = publish;
    this.#perSecond = perSecond;
  }

  /** Publishes at regular intervals. Each event has a due time of its own, so that delays do not accumulate. */
  async publishUntil(isOver: () => boolean, perSecond = this.#perSecond): Promise<void> {
    const startedAt = clockMs();
    for (let index = 0; !isOver() && this.#failure === undefined; index += 1) {
      const waitMs = startedAt + (index * 1_000) / perSecond - clockMs();
      if (waitMs > 0) await delay(waitMs);
      if (this.#unconfirmed.size >= MAX_UNCONFIRMED) await Promise.race(this.#unconfirmed);
      this.#publish();
    }
    await Promise.all(this.#unconfirmed);
    if (this.#failure !== undefined) throw new Error('an event could not be published', { cause: this.#failure });
  }

  #publish(): void {
    const number = this.#sent.push({ sentAt: clockMs(), duplicates: 0, seenAt: [] }) - 1;
    const confirmed = this.#publishOne(number)
      .catch((error: unknown) => {
        this.#failure = error;
      })
      .finally(() => this.#unconfirmed.delete(confirmed));
    this.#unconfirmed.add(confirmed);
  }

  receive(message: ReceiverMessage): void {
    if (!('arrivedAt' in message)) return;
    const sent = this.#sent[Number(message.webhookId)];
    if (sent === undefined) return;
    if (sent.arrivedAt === undefined) sent.arrivedAt = message.arrivedAt;
    else sent.duplicates += 1;
  }

  see(message: WatcherMessage): void {
    if ('seenAt' in message) this.#sent[Number(message.webhookId)]?.seenAt.push(...message.seenAt);
  }

  /** Times from `since` to each watcher's receipt of each event published from `from` until `to`. */
  seenBetween(from: number, to: number, since: 'sentAt' | 'arrivedAt'): LatencySummary {
    const sent = this.#sent.filter(({ sentAt }) => sentAt >= from && sentAt < to);
    return summarise(sent.flatMap((one) => one.seenAt.map((seenAt) => seenAt - (one[since] ?? seenAt))));
  }

  /** Summarises the events published from `from` until `to` when all have arrived, or after GRACE_MS. */
  async settled(from: number, to: number): Promise<TrafficSummary> {
    await waitUntil(() => this.between(from, to).missing === 0, GRACE_MS);
    return this.between(from, to);
  }

  /** Summarises the events published from `from` until `to` now. An event that has not arrived counts with its age. */
  between(from: number, to = Number.POSITIVE_INFINITY): TrafficSummary {
    const now = clockMs();
    const sent = this.#sent.filter(({ sentAt }) => sentAt >= from && sentAt < to);
    const latencies = sent.map(({ sentAt, arrivedAt = now }) => arrivedAt - sentAt);
    return {
      ...summarise(latencies),
      late: latencies.filter((latency) => latency > LATE_MS).length,
      missing: sent.filter(({ arrivedAt }) => arrivedAt === undefined).length,
      duplicates: sent.reduce((sum, { duplicates }) => sum + duplicates, 0),
    };
  }
}

/** Cells of a table, with `≥` if the latencies include the age of events that have not arrived. */
export function cellsOf({ events, p50, p95, p99, missing }: TrafficSummary): Record<string, string> {
  const show = (ms: number) => `${missing > 0 ? '≥ ' : ''}${ms.toFixed(1)}`;
  return {
    events: String(events),
    'p50 ms': show(p50),
    'p95 ms': show(p95),
    'p99 ms': show(p99),
    missing: String(missing),
  };
}
