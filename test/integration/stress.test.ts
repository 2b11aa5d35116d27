import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import type { Receiver, Respond } from '../support/receiver.ts';
import { seededChance } from '../support/seeded-chance.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

/** Another SEED gives other events and disturbances. A failure names its seed. */
const SEED = Number(process.env['SEED'] ?? 20_260);
const EVENTS = 3_000;

type Behaviour = {
  readonly count: number;
  /** The share of attempts that fail. */
  readonly failureRate?: number;
  readonly upToMs?: number;
  readonly hangs?: boolean;
  readonly settings?: Readonly<Record<string, unknown>>;
};

const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  good: { count: 9 },
  slow: { count: 4, upToMs: 150 },
  flaky: { count: 5, failureRate: 0.3, upToMs: 30 },
  bad: { count: 2, failureRate: 0.9 },
  hanging: { count: 2, hangs: true, settings: { timeoutMs: 1_000 } },
  limited: { count: 3, settings: { rateLimitPerSecond: 30 } },
  single: { count: 3, upToMs: 20, failureRate: 0.1, settings: { maxInFlight: 1 } },
  deactivated: { count: 2, upToMs: 50, failureRate: 0.2 },
};

type Endpoint = { readonly id: string; readonly kind: string; readonly receiver: Receiver; readonly type: string };

/** `<delivery>:<attempt>` of the requests that were answered with a 200. */
type Successes = string[];

function nameOf(headers: Readonly<Record<string, unknown>>): string {
  return `${String(headers['webhook-delivery'])}:${String(headers['webhook-attempt'])}`;
}

function respond({ failureRate = 0, upToMs = 0, hangs = false }: Behaviour, successes: Successes): Respond {
  return async ({ headers }) => {
    if (hangs) return 'hang';
    const chance = seededChance(SEED, nameOf(headers));
    if (upToMs > 0) await delay(chance * upToMs);
    if (seededChance(SEED, `${nameOf(headers)} fails`) < failureRate) return { status: 500 };
    successes.push(nameOf(headers));
    return { status: 200 };
  };
}

async function createEndpoints(stack: TestStack, successes: Successes): Promise<Endpoint[]> {
  const endpoints: Endpoint[] = [];
  for (const [kind, behaviour] of Object.entries(BEHAVIOURS)) {
    for (let index = 0; index < behaviour.count; index += 1) {
      const receiver = await stack.receive(respond(behaviour, successes));
      const type = `type-${endpoints.length}`;
      // Every event of the first endpoint of a kind goes to the second one as well.
      const eventTypes = index === 1 ? [type, `type-${endpoints.length - 1}`] : [type];
      const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes, ...behaviour.settings });
      endpoints.push({ id, kind, receiver, type });
    }
  }
  return endpoints;
}

async function publishAll(stack: TestStack, endpoints: readonly Endpoint[]): Promise<void> {
  for (let start = 0; start < EVENTS; start += 50) {
    const numbers = Array.from({ length: 50 }, (_, index) => start + index);
    await Promise.all(
      numbers.map((number) => {
        // Bursts: a hundred consecutive events have mostly few types.
        const burst = seededChance(SEED, `burst ${Math.floor(number / 100)}`);
        const chance = seededChance(SEED, `event ${number}`);
        const index = Math.floor((chance < 0.5 ? burst : chance * 2 - 1) * endpoints.length);
        return stack.publish(`events.acme.${endpoints[index]?.type ?? ''}`, JSON.stringify({ number }));
      }),
    );
    if (start === EVENTS / 2) await change(stack, endpoints);
  }
}

/** Changes subscriptions in the middle of the traffic. */
async function change(stack: TestStack, endpoints: readonly Endpoint[]): Promise<void> {
  const update = (id: string, input: Readonly<Record<string, unknown>>) =>
    stack.app.graphql(
      `mutation ($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
        updateWebhookSubscription(id: $id, input: $input) { ... on Error { message } } }`,
      { id, input },
    );
  for (const { id, kind } of endpoints) {
    if (kind === 'deactivated') await update(id, { isActive: false });
    if (kind === 'single') await update(id, { maxInFlight: 2 });
  }
}

/** Counts deliveries that will progress: with a closed circuit, including those before a retry, or leased by a sender. */
const UNSETTLED = `SELECT count(*)::integer AS count FROM deliveries d
  JOIN subscription_states st USING (subscription_id) WHERE d.status = 'PENDING'
    AND (st.opened_at IS NULL OR d.enqueued_at IS NOT NULL)`;

/** Finds queued deliveries without a scheduled sweep. */
const FORGOTTEN = `SELECT d.id, d.subscription_id, d.waiting_for FROM deliveries d
  JOIN subscription_states st USING (subscription_id) WHERE d.status = 'PENDING' AND d.enqueued_at IS NULL
    AND (st.next_sweep_at IS NULL OR (st.opened_at IS NULL AND st.next_sweep_at > d.next_attempt_at + interval '1 s'))`;

async function requestsAreLogged(stack: TestStack, endpoints: readonly Endpoint[]): Promise<boolean> {
  const logged = await stack.query<{ name: string }>(
    `SELECT delivery_id || ':' || number AS name FROM attempts ORDER BY 1`,
  );
  const seen = endpoints.flatMap(({ receiver }) => receiver.requests.map(({ headers }) => nameOf(headers)));
  return JSON.stringify(logged.map(({ name }) => name)) === JSON.stringify(seen.toSorted());
}

it(`thirty endpoints of every kind, two programs, 3,000 events: nothing is lost, doubled or forgotten (seed ${SEED})`, async () => {
  const stack = await startTestStack(cleanUps, {
    apps: 2,
    env: { RETRY_SCHEDULE: '200ms,300ms,400ms,500ms,600ms,700ms' },
  });
  const successes: Successes = [];
  const endpoints = await createEndpoints(stack, successes);
  await publishAll(stack, endpoints);
  const isSettled = async () => (await stack.query<{ count: number }>(UNSETTLED))[0]?.count === 0;
  const [events] = await stack.query<{ count: number }>('SELECT count(*)::integer AS count FROM events');
  await waitFor(async () => (await stack.countDeliveries('true')) >= (events?.count ?? 0) * 0.9 && isSettled(), {
    what: 'everything to be delivered',
  });
  // The log has exactly the attempts made, with their numbers.
  await waitFor(() => requestsAreLogged(stack, endpoints), { what: 'the log to say what the receivers saw' });
  const succeeded = await stack.query<{ id: string }>(`SELECT id FROM deliveries WHERE status = 'SUCCESS' ORDER BY 1`);
  expect(successes.map((name) => name.slice(0, 36)).toSorted()).toEqual(succeeded.map(({ id }) => id));
  expect(await stack.query(FORGOTTEN)).toEqual([]);
  const healthy = endpoints.filter(({ kind }) => ['good', 'slow', 'limited'].includes(kind)).map(({ id }) => id);
  expect(await stack.countDeliveries(`subscription_id = ANY ($1) AND status <> 'SUCCESS'`, [healthy])).toBe(0);
  const deactivated = endpoints.filter(({ kind }) => kind === 'deactivated').map(({ id }) => id);
  expect(await stack.countDeliveries(`subscription_id = ANY ($1) AND status = 'PENDING'`, [deactivated])).toBe(0);
  const [statistics] = await stack.query<{ deadlocks: number }>(
    'SELECT deadlocks::integer FROM pg_stat_database WHERE datname = current_database()',
  );
  expect(statistics?.deadlocks).toBe(0);
  expect(stack.logLines.filter((line) => line.includes('"level":50'))).toEqual([]);
});
