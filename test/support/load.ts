import { setTimeout as delay } from 'node:timers/promises';
import { type EventPublisher, startEventPublisher } from './event-publisher.ts';
import { type Receiver, startReceiver } from './receiver.ts';
import { seededChance } from './seeded-chance.ts';
import type { TestServices } from './test-app.ts';
import { waitFor } from './wait-for.ts';

export type LoadOptions = {
  /** Decides which requests are answered late, or with a 503. */
  readonly seed: number;
  readonly natsUrl: string;
  readonly query: TestServices['query'];
  readonly graphql: <T>(query: string, variables?: Record<string, unknown>) => Promise<T>;
};

/** Result of a load: all counts are zero, except `deliveries`, if no delivery was lost and none was sent twice. */
export type LoadCount = {
  /** Deliveries of confirmed events for which no request was answered with a 2xx. */
  readonly lost: number;
  /** Repeated requests for the same attempt, identified by its delivery and number. */
  readonly doubled: number;
  /** Requests answered with a 2xx after another request of the same delivery was answered with a 2xx. */
  readonly succeededTwice: number;
  /** Requests that are missing in the delivery log. */
  readonly unrecorded: number;
  /** Attempts that are in the delivery log more than once. */
  readonly recordedTwice: number;
  /** Deliveries by status. */
  readonly deliveries: Readonly<Record<string, number>>;
};

const SUBSCRIPTIONS = 20;
/** Two subscriptions select each type. */
const EVENT_TYPES = 10;
export const FAN_OUT = SUBSCRIPTIONS / EVENT_TYPES;
const EVENTS_PER_SECOND = 300;
const TICK_MS = 50;
/** Far below the failure rate that opens a circuit. */
const SHARE_OF_503 = 0.04;
const SHARE_OF_SLOW = 0.03;
const MAX_SLOW_MS = 1_200;
/** Usually a few seconds; the sweeper needs up to two minutes for messages that a killed nats-server has lost. */
const SETTLE_TIMEOUT_MS = 200_000;

const CREATE = `mutation ($url: String!, $type: String!) {
  createWebhookSubscription(input: { tenant: "acme", url: $url, eventTypes: [$type] }) { __typename }
}`;

/** Publishes events for twenty subscriptions to a receiver that answers some requests late and some with a 503. */
export class Load {
  readonly #options: LoadOptions;
  readonly #publisher: EventPublisher;
  /** Number of 2xx answers by delivery. */
  readonly #successes = new Map<string, number>();
  readonly #published: { readonly type: number; readonly id: string }[] = [];
  #receiver: Receiver | undefined;
  #begun = 0;
  #open = 0;

  static async start(options: LoadOptions): Promise<Load> {
    const load = new Load(options, await startEventPublisher(options.natsUrl));
    const receiver = await load.#startReceiver();
    for (let index = 0; index < SUBSCRIPTIONS; index += 1) {
      const variables = { url: `${receiver.url}/${index}`, type: `load.t${index % EVENT_TYPES}` };
      await options.graphql(CREATE, variables);
    }
    return load;
  }

  private constructor(options: LoadOptions, publisher: EventPublisher) {
    this.#options = options;
    this.#publisher = publisher;
  }

  /** Number of requests that have not been answered yet. */
  get open(): number {
    return this.#open;
  }

  /** Number of requests received. */
  get requests(): number {
    return this.#receiver?.requests.length ?? 0;
  }

  /** For the message of an assertion. */
  get label(): string {
    return `with seed ${this.#options.seed}`;
  }

  /** Publishes this many more events; resolves when JetStream has confirmed them. */
  async publish(events: number): Promise<void> {
    const confirmations: Promise<void>[] = [];
    const perTick = (EVENTS_PER_SECOND * TICK_MS) / 1_000;
    const end = this.#begun + events;
    while (this.#begun < end) {
      const index = this.#begun;
      this.#begun += 1;
      const event = { type: index % EVENT_TYPES, id: `load-${index}` };
      const confirmed = this.#publisher.publish(`events.acme.load.t${event.type}`, event.id);
      confirmations.push(confirmed.then(() => void this.#published.push(event)));
      if (index % perTick === 0) await delay(TICK_MS);
    }
    await Promise.all(confirmations);
  }

  /** Waits until the receiver has received this many requests in total and at least one of them is open. */
  async reach(requests: number): Promise<void> {
    await waitFor(() => this.requests >= requests && this.#open > 0, {
      what: `request ${requests} (${this.requests} so far), ${this.label}`,
    });
  }

  /** Number of received requests that are missing in the delivery log, temporarily or permanently. */
  async unrecorded(): Promise<number> {
    const [row] = await this.#options.query<{ count: number }>('SELECT count(*)::int FROM attempts');
    return this.requests - (row?.count ?? 0);
  }

  /** Waits until every delivery of the published events has ended and no request is open. */
  async settle(): Promise<void> {
    const ended = `SELECT count(*)::int FROM deliveries WHERE status <> 'PENDING'`;
    const wanted = this.#published.length * FAN_OUT;
    try {
      await waitFor(
        async () => this.#open === 0 && (await this.#options.query<{ count: number }>(ended))[0]?.count === wanted,
        { what: `the end of ${wanted} deliveries, ${this.label}`, timeoutMs: SETTLE_TIMEOUT_MS },
      );
    } catch (error) {
      throw new Error(`${this.#open} requests are open; ${await this.#describePending()}`, { cause: error });
    }
  }

  /** Describes the pending deliveries for the error message of `settle`. */
  async #describePending(): Promise<string> {
    const rows = await this.#options.query(
      `SELECT now(), to_jsonb(d) AS delivery, to_jsonb(s) AS state, count(*) OVER () FROM deliveries d
       LEFT JOIN subscription_states s USING (subscription_id) WHERE status = 'PENDING' ORDER BY d.id LIMIT 3`,
    );
    const total = await this.#options.query('SELECT status, count(*)::int FROM deliveries GROUP BY status');
    return `deliveries: ${JSON.stringify(total)}, of those that wait: ${JSON.stringify(rows)}`;
  }

  async count(): Promise<LoadCount> {
    const { query } = this.#options;
    const seen = this.#receiver?.requests.map(({ headers }) => attemptKey(headers)) ?? [];
    const wanted = this.#published.flatMap(({ type, id }) =>
      Array.from({ length: FAN_OUT }, (_, copy) => `/${type + copy * EVENT_TYPES} ${id}`),
    );
    const [twice] = await query<{ count: number }>(
      `SELECT (count(*) - count(DISTINCT (delivery_id, number)))::int AS count FROM attempts`,
    );
    const statuses = await query<{ status: string; count: number }>(
      'SELECT status, count(*)::int FROM deliveries GROUP BY status',
    );
    return {
      lost: wanted.filter((key) => !this.#successes.has(key)).length,
      doubled: seen.length - new Set(seen).size,
      succeededTwice: [...this.#successes.values()].reduce((sum, successes) => sum + successes - 1, 0),
      unrecorded: await this.unrecorded(),
      recordedTwice: twice?.count ?? 0,
      deliveries: Object.fromEntries(statuses.map(({ status, count }) => [status, count])),
    };
  }

  async stop(): Promise<void> {
    await this.#publisher.stop();
    await this.#receiver?.close();
  }

  async #startReceiver(): Promise<Receiver> {
    this.#receiver = await startReceiver(async ({ path, headers }) => {
      this.#open += 1;
      const key = `${path} ${String(headers['webhook-id'])}`;
      const status = await this.#decide(`${key} ${String(headers['webhook-attempt'])}`);
      if (status === 200) this.#successes.set(key, (this.#successes.get(key) ?? 0) + 1);
      this.#open -= 1;
      return { status };
    });
    return this.#receiver;
  }

  async #decide(key: string): Promise<number> {
    const { seed } = this.#options;
    const isSlow = seededChance(seed, `slow ${key}`) < SHARE_OF_SLOW;
    await delay(seededChance(seed, `time ${key}`) * (isSlow ? MAX_SLOW_MS : 30));
    return seededChance(seed, `status ${key}`) < SHARE_OF_503 ? 503 : 200;
  }
}

function attemptKey(headers: Receiver['requests'][number]['headers']): string {
  return `${String(headers['webhook-delivery'])} ${String(headers['webhook-attempt'])}`;
}
