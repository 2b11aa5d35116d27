import { randomUUID } from 'node:crypto';
import { Gauge, type Registry } from 'prom-client';
import { HEARTBEAT_TIMEOUT_MS, Heartbeat, type HeartbeatOptions } from '../../nats/heartbeat.ts';

type SenderPeersOptions = HeartbeatOptions & {
  readonly metrics: Registry;
  /** In milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

/** Maximum number of other senders that are counted. Bounds memory; installations are much smaller. */
const MAX_PEERS = 1_000;

/**
 * Counts the sender processes of the installation on all machines, so that each process enforces its share of a limit. Every
 * sender publishes a heartbeat at intervals, when it receives the heartbeat of a new sender, and when it stops. A killed
 * sender is counted for 7 s (HEARTBEAT_TIMEOUT_MS).
 */
export class SenderPeers {
  readonly #heartbeat: Heartbeat;
  readonly #id = randomUUID();
  readonly #now: () => number;
  /** Time of the last heartbeat of each other sender, by its id. */
  readonly #lastBeatAt = new Map<string, number>();
  /** The number of senders including this one, and the number of senders with smaller ids. */
  #position = { count: 1, rank: 0 };

  /** Create it before the NATS client is started. */
  constructor(options: SenderPeersOptions) {
    this.#now = options.now ?? (() => performance.now());
    const count = () => this.#position.count;
    new Gauge({
      registers: [options.metrics],
      name: 'webhooks_senders',
      aggregator: 'max',
      help: 'Live sender processes of the installation, among which limits of attempts in flight are divided',
      collect() {
        this.set(count());
      },
    });
    this.#heartbeat = new Heartbeat(options, {
      kind: 'senders',
      onBeat: (body) => {
        this.#onBeat(body);
      },
      onReady: () => {
        // No heartbeats arrive while NATS is unavailable, so the age of the last heartbeat counts from the reconnection.
        for (const id of this.#lastBeatAt.keys()) this.#lastBeatAt.set(id, this.#now());
        this.#announce(true);
      },
    });
  }

  start(): void {
    this.#heartbeat.start(() => {
      this.#announce(true);
      this.#forgetExpired();
    });
  }

  stop(): Promise<void> {
    this.#heartbeat.stop();
    this.#announce(false);
    return Promise.resolve();
  }

  /** This sender's share of a limit, at least 1. The shares add up to the limit, unless there are more senders than that. */
  shareOf(limit: number): number {
    const { count, rank } = this.#position;
    return Math.max(1, Math.floor(limit / count) + (rank < limit % count ? 1 : 0));
  }

  #announce(isRunning: boolean): void {
    this.#heartbeat.send(JSON.stringify({ id: this.#id, isRunning }));
  }

  #onBeat(body: Buffer): void {
    // `as`: only #announce() seals messages of this subject.
    const { id, isRunning } = JSON.parse(body.toString()) as { readonly id: string; readonly isRunning: boolean };
    if (id === this.#id) return;
    const isNew = !this.#lastBeatAt.has(id);
    if (!isRunning) this.#lastBeatAt.delete(id);
    else if (!isNew || this.#lastBeatAt.size < MAX_PEERS) this.#lastBeatAt.set(id, this.#now());
    this.#count();
    // The new sender then counts this one without waiting for its next interval.
    if (isNew && isRunning) this.#announce(true);
  }

  #forgetExpired(): void {
    const oldest = this.#now() - HEARTBEAT_TIMEOUT_MS;
    for (const [id, lastBeatAt] of this.#lastBeatAt) if (lastBeatAt < oldest) this.#lastBeatAt.delete(id);
    this.#count();
  }

  #count(): void {
    const others = [...this.#lastBeatAt.keys()];
    this.#position = { count: others.length + 1, rank: others.filter((id) => id < this.#id).length };
  }
}
