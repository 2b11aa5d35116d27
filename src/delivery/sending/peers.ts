import { randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import type { NatsClient } from '../../nats/connection.ts';

type SenderPeersOptions = {
  readonly nats: Pick<NatsClient, 'names' | 'broadcast' | 'open' | 'listen'>;
  readonly log: Logger;
  readonly metrics: Registry;
  /** In milliseconds; by default performance.now(). */
  readonly now?: () => number;
};

/** Interval of the announcements. */
const INTERVAL_MS = 2_000;
/** A sender that was not heard for this long does not count: three announcements, and a moment. */
const FORGET_AFTER_MS = 7_000;
/** Bounds memory; nobody runs as many. */
const MAX_PEERS = 1_000;

/**
 * The sender processes of the installation, on any machine, so that each takes its share of a limit. Each announces itself
 * over NATS core every 2 s, at once when it hears of a new one, and when it stops. One that is killed counts for 7 s.
 */
export class SenderPeers {
  readonly #options: SenderPeersOptions;
  readonly #id = randomUUID();
  readonly #now: () => number;
  /** When each other sender was heard last, by its id. */
  readonly #heardAt = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  /** The number of senders with this one, and how many of them have a smaller id. */
  #position = { count: 1, rank: 0 };

  /** To be created before the client is started. */
  constructor(options: SenderPeersOptions) {
    this.#options = options;
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
    options.nats.listen({
      onOpen: (connection) => {
        this.#receive(connection);
      },
      onReady: () => {
        // While NATS was unavailable nobody could be heard.
        for (const id of this.#heardAt.keys()) this.#heardAt.set(id, this.#now());
        this.#announce(true);
      },
    });
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#announce(true);
      this.#forgetSilent();
    }, INTERVAL_MS);
  }

  stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#announce(false);
    return Promise.resolve();
  }

  /** This sender's share of a limit: all shares together are the limit, but none is less than 1. */
  shareOf(limit: number): number {
    const { count, rank } = this.#position;
    return Math.max(1, Math.floor(limit / count) + (rank < limit % count ? 1 : 0));
  }

  #announce(isRunning: boolean): void {
    const { nats, log } = this.#options;
    try {
      nats.broadcast(nats.names.sendersSubject, Buffer.from(JSON.stringify({ id: this.#id, isRunning })));
    } catch (error) {
      log.debug({ err: error }, 'announcing this sender failed');
    }
  }

  #receive(connection: NatsConnection): void {
    const { nats, log } = this.#options;
    connection.subscribe(nats.names.sendersSubject, {
      callback: (error, message) => {
        const body = error === null ? nats.open('senders', message) : undefined;
        if (body !== undefined) this.#note(body);
        else if (error !== null) log.warn({ err: error }, 'the subscription to other senders failed');
      },
    });
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
