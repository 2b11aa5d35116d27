import { pino } from 'pino';
import { afterEach, expect, it } from 'vitest';
import { type Respond, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const ups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const c of ups.splice(0).reverse()) await c();
});
async function setUp(apps = 1, env: Record<string, string> = {}) {
  const services = await startTestServices();
  ups.push(() => services.stop());
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (l: string) => void lines.push(l) });
  const list: TestApp[] = [];
  for (let i = 0; i < apps; i++) {
    const app = await startTestApp(services, { log, env });
    ups.push(() => app.stop());
    list.push(app);
  }
  const receive = async (r?: Respond) => {
    const x = await startReceiver(r);
    ups.push(() => x.close());
    return x;
  };
  return { services, lines, apps: list, receive };
}
const states = (s: TestServices) =>
  s.query(
    `SELECT s.event_types[1] AS t, round(extract(epoch from st.next_due_at - now())::numeric,2) AS due, is_backlogged AS b, release_window AS w, failing_since IS NOT NULL AS f, opened_at IS NOT NULL AS o, probe_wait_ms, straggler_check_at is not null as strag FROM subscription_states st JOIN webhook_subscriptions s ON s.id = st.subscription_id ORDER BY 1`,
  );
const dels = (s: TestServices) =>
  s.query(
    `SELECT event_type, status, waiting_for, enqueued_at IS NOT NULL AS enq, count(*)::int, max(enqueue_count) AS maxenq, sum(attempt_count)::int as att FROM deliveries GROUP BY 1,2,3,4 ORDER BY 1,2,3,4`,
  );
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));

it('A1 two subscriptions that want everything and fail together', async () => {
  const {
    services,
    lines,
    apps: [app],
    receive,
  } = await setUp(1, { RETRY_SCHEDULE: '300ms,300ms,300ms,300ms,300ms,300ms' });
  const bad = await receive(() => ({ status: 500 }));
  for (let i = 0; i < 6; i++) await app!.subscribe({ url: bad.url, eventTypes: ['*'] });
  for (let i = 0; i < 30; i++) await services.publish('events.acme.x', '{}');
  await sleep(8000);
  console.table(await states(services));
  console.table(await dels(services));
  console.log(
    lines
      .filter((l) => l.includes('"level":50') || l.includes('"level":40'))
      .map((l) => l.slice(0, 300))
      .slice(0, 10)
      .join('\n'),
  );
}, 60000);

it('A2 80 % failing under load', async () => {
  const {
    services,
    lines,
    apps: [app],
    receive,
  } = await setUp(1, { RETRY_SCHEDULE: '5s,30s' });
  const bad = await receive((_, i) => ({ status: i % 5 === 0 ? 200 : 500 }));
  await app!.subscribe({ url: bad.url, eventTypes: ['x'] });
  await services.query('UPDATE webhook_subscriptions SET max_in_flight = 100');
  for (let i = 0; i < 3000; i += 100) {
    await Promise.all(Array.from({ length: 100 }, () => services.publish('events.acme.x', '{}')));
  }
  await sleep(3000);
  console.table(await states(services));
  console.table(await dels(services));
  console.log(bad.requests.length);
  console.log(lines.filter((l) => l.includes('circuit')).join('\n'));
}, 60000);

it('A4 deactivated while open', async () => {
  const {
    services,
    apps: [app],
    receive,
  } = await setUp(1, { RETRY_SCHEDULE: '5s,30s' });
  const bad = await receive(() => ({ status: 500 }));
  const { id } = await app!.subscribe({ url: bad.url, eventTypes: ['x'] });
  for (let i = 0; i < 30; i++) await services.publish('events.acme.x', '{}');
  await waitFor(
    async () => (await services.query('SELECT FROM subscription_states WHERE opened_at IS NOT NULL')).length > 0,
    { what: 'open' },
  );
  const set = (isActive: boolean) =>
    app!.graphql(
      `mutation ($id: ID!, $a: Boolean!) { updateWebhookSubscription(id: $id, input: {isActive: $a}) { __typename ... on Error { message } } }`,
      { id, a: isActive },
    );
  console.log(await set(false));
  await services.query('UPDATE subscription_states SET next_due_at = now()');
  await sleep(1000);
  const count = async () => {
    const [r] = await services.query<{ n: number }>(
      `SELECT xact_commit::int AS n FROM pg_stat_database WHERE datname = current_database()`,
    );
    return r!.n;
  };
  const a = await count();
  await sleep(5000);
  const b = await count();
  console.log('tx per second', (b - a) / 5);
  console.table(await states(services));
  console.table(await dels(services));
  await set(true);
  await services.publish('events.acme.x', '{}');
  await sleep(1500);
  console.table(await states(services));
  console.table(await dels(services));
}, 60000);

it('A5 burst to a healthy one: how long do the last ones take', async () => {
  const {
    services,
    apps: [app],
    receive,
  } = await setUp(1);
  const ok = await receive(async () => {
    await sleep(50);
    return { status: 200 };
  });
  await app!.subscribe({ url: ok.url, eventTypes: ['x'] });
  await Promise.all(Array.from({ length: 1000 }, () => services.publish('events.acme.x', '{}')));
  const t0 = Date.now();
  for (let i = 0; i < 14; i++) {
    await sleep(1000);
    const [st] = await states(services);
    console.log(Date.now() - t0, ok.requests.length, JSON.stringify(st));
    if (ok.requests.length >= 1000) break;
  }
  console.table(await dels(services));
}, 60000);
