import { randomUUID } from 'node:crypto';
import { Gauge, type Registry } from 'prom-client';
import { FORGET_AFTER_MS, Heartbeat, type HeartbeatOptions } from '../../nats/heartbeat.ts';

type SenderPeersOptions = HeartbeatOptions & {
  readonly metrics: Registry;
  /** In milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

/** Bounds memory; nobody runs as many. */
const MAX_PEERS = 1_000;

/**
 * The sender processes of the installation, on any machine, so that each takes its share of a limit. Each has a heartbeat,
 * and sends it at once when it hears of a new sender, and when it stops. One that is killed counts for 7 s.
 */
export class SenderPeers {
  readonly #heartbeat: Heartbeat;
  readonly #id = randomUUID();
  readonly #now: () => number;
  /** When each other sender was heard last, by its id. */
  readonly #heardAt = new Map<string, number>();
  /** The number of senders with this one, and how many of them have a smaller id. */
  #position = { count: 1, rank: 0 };

  /** To be created before the client is started. */
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
        this.#note(body);
      },
      onReady: () => {
        // While NATS was unavailable nobody could be heard.
        for (const id of this.#heardAt.keys()) this.#heardAt.set(id, this.#now());
        this.#announce(true);
      },
    });
  }

  start(): void {
    this.#heartbeat.start(() => {
      this.#announce(true);
      this.#forgetSilent();
    });
  }

  stop(): Promise<void> {
    this.#heartbeat.stop();
    this.#announce(false);
    return Promise.resolve();
  }

  /** This sender's share of a limit: all shares together are the limit, but none is less than 1. */
  shareOf(limit: number): number {
    const { count, rank } = this.#position;
    return Math.max(1, Math.floor(limit / count) + (rank < limit % count ? 1 : 0));
  }

  #announce(isRunning: boolean): void {
    this.#heartbeat.send(JSON.stringify({ id: this.#id, isRunning }));
  }

  #note(body: Buffer): void {
    // `as`: only #announce() seals messages of this subject.
    const { id, isRunning } = JSON.parse(body.toString()) as { readonly id: string; readonly isRunning: boolean };
    if (id === this.#id) return;
    const isNew = !this.#heardAt.has(id);
    if (!isRunning) this.#heardAt.delete(id);
    else if (!isNew || this.#heardAt.size < MAX_PEERS) this.#heardAt.set(id, this.#now());
    this.#count();
    // So that a new sender knows all others at once.
    if (isNew && isRunning) this.#announce(true);
  }

  #forgetSilent(): void {
    const oldest = this.#now() - FORGET_AFTER_MS;
    for (const [id, heardAt] of this.#heardAt) if (heardAt < oldest) this.#heardAt.delete(id);
    this.#count();
  }

  #count(): void {
    const others = [...this.#heardAt.keys()];
    this.#position = { count: others.length + 1, rank: others.filter((id) => id < this.#id).length };
  }
}
