import { setTimeout as delay } from 'node:timers/promises';
import { pause } from '../../src/lib/waiting.ts';
import { type EventPublisher, startEventPublisher } from '../support/event-publisher.ts';
import type { TestApp } from '../support/test-app.ts';
import type { Tally } from './tally.ts';
import { type AcknowledgedEvent, isPublishedOverGraphql, TENANT, typeOf } from './traffic.ts';

export type PublisherOptions = {
  readonly seed: number;
  readonly natsUrl: string;
  readonly graphql: TestApp['graphql'];
  readonly events: number;
  readonly perSecond: number;
  /** Maximum missing deliveries. Slows publishing on a slow machine and during outages. */
  readonly maxBacklog: number;
  /** Receives each acknowledged event. */
  readonly tally: Tally;
};

/** Maximum unacknowledged events. Stops publishing while NATS is unavailable. */
const MAX_UNACKNOWLEDGED = 1_000;
const TICK_MS = 20;
/** Maximum events that are published at once. */
const MAX_CREDIT = 100;
const RETRY_MS = 200;
/** Longer than the longest pause of the api process and of the servers that it waits for. */
const MAX_SILENCE_MS = 60_000;

const PUBLISH = `mutation ($input: PublishEventInput!) { publishEvent(input: $input) {
  ... on PublishEventPayload { event { id } }
  ... on Error { message }
} }`;

/** A correct publisher: it publishes each unacknowledged event again under the same id. */
export class Publisher {
  readonly acknowledged: AcknowledgedEvent[] = [];
  readonly #options: PublisherOptions;
  readonly #jetStream: EventPublisher;
  readonly #unacknowledged = new Set<Promise<void>>();
  readonly #ending = new AbortController();
  readonly #stopping = new AbortController();
  #published = 0;
  #unanswered = 0;

  static async start(options: PublisherOptions): Promise<Publisher> {
    return new Publisher(options, await startEventPublisher(options.natsUrl));
  }

  private constructor(options: PublisherOptions, jetStream: EventPublisher) {
    this.#options = options;
    this.#jetStream = jetStream;
  }

  get published(): number {
    return this.#published;
  }

  /** Number of `publishEvent` calls without an answer within a minute. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** The publishing clock: time since the first event, without the time that the publisher waited. */
  get clockMs(): number {
    return (this.#published * 1_000) / this.#options.perSecond;
  }

  /** Publishes at a steady rate within the limits. Resolves when all events are acknowledged; rejects when stopped. */
  async run(): Promise<void> {
    const { events, perSecond } = this.#options;
    let credit = 0;
    for (let last = Date.now(); this.#published < events && !this.#ending.signal.aborted; ) {
      await delay(TICK_MS);
      const now = Date.now();
      // The limit prevents a burst after a wait.
      credit = Math.min(MAX_CREDIT, credit + ((now - last) * perSecond) / 1_000);
      last = now;
      for (; credit >= 1 && this.#published < events && this.#hasRoom(); credit -= 1) this.#publishNext();
    }
    await Promise.all(this.#unacknowledged);
  }

  #hasRoom(): boolean {
    const { tally, maxBacklog } = this.#options;
    return this.#unacknowledged.size < MAX_UNACKNOWLEDGED && tally.missing < maxBacklog;
  }

  /** Publishes no new events. Published events may still be acknowledged. */
  end(): void {
    this.#ending.abort();
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    this.#stopping.abort();
    await this.#jetStream.stop();
  }

  #publishNext(): void {
    const number = this.#published;
    this.#published += 1;
    const id = `crash-${this.#options.seed}-${number}`;
    const done = this.#publish(id, number)
      .then(() => {
        this.acknowledged.push({ id, number });
        this.#options.tally.acknowledge({ id, number });
      })
      .finally(() => this.#unacknowledged.delete(done));
    this.#unacknowledged.add(done);
  }

  async #publish(id: string, number: number): Promise<void> {
    const data = { number, text: 'x'.repeat(200) };
    if (!isPublishedOverGraphql(number)) {
      await this.#jetStream.publish(`events.${TENANT}.${typeOf(number)}`, id, JSON.stringify(data));
      return;
    }
    while (!(await this.#publishOverGraphql({ tenant: TENANT, type: typeOf(number), id, data }))) {
      if (this.#stopping.signal.aborted) throw new Error(`${id} was never acknowledged`);
      await delay(RETRY_MS);
    }
  }

  /** Whether the event was acknowledged. A killed api process does not answer; without Postgres it returns an error. */
  async #publishOverGraphql(input: Readonly<Record<string, unknown>>): Promise<boolean> {
    type Answer = { readonly publishEvent: { readonly event?: unknown } };
    const asked = this.#options.graphql<Answer>(PUBLISH, { input }).then(
      ({ publishEvent }) => publishEvent.event !== undefined,
      () => false,
    );
    const tooLate = new AbortController();
    const silence = pause(MAX_SILENCE_MS, tooLate.signal).then(() => undefined);
    const answer = await Promise.race([asked, silence]);
    tooLate.abort();
    if (answer === undefined) this.#unanswered += 1;
    return answer ?? false;
  }
}
