import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createApiKey } from '../support/api-keys.ts';
import { startEngineProcess } from '../support/engine-process.ts';
import { createSocketClient } from '../support/graphql-client.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { lockTable } from '../support/table-lock.ts';
import { ADMIN_API_KEY, startTestServices, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let receiver: Receiver;
beforeAll(async () => {
  services = await startTestServices();
  receiver = await startReceiver();
});
afterAll(async () => {
  await receiver.close();
  await services.stop();
});

const READ = `{ deliveryLog(first: 20) { nodes { id delivery { event { data } subscription { url } } } }
  webhookSubscriptions(first: 20) { nodes { id circuit { state } } } events(first: 10) { nodes { considered { nodes { result } } } } }`;
const PUBLISH = `mutation { ${Array.from({ length: 5 }, (_, n) => `m${n}: publishEvent(input: { tenant: "acme", type: "a", data: {} }) { __typename }`).join(' ')} }`;
const WATCH = 'subscription { deliveryLog { id delivery { event { data } attempts(first: 3) { nodes { id } } } } }';

it('a process that is stopped under load uses nothing that it has closed', async () => {
  const engine = await startEngineProcess(services, { LOG_LEVEL: 'debug', API_RATE_LIMIT: '10000' });
  const app = { graphql: engine.graphql, url: engine.url };
  await engine.graphql(
    `mutation ($url: String!) { createWebhookSubscription(input: { tenant: "acme", url: $url, eventTypes: ["*"] }) { __typename } }`,
    { url: receiver.url },
  );
  const { key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
  let isOver = false;
  let answers = 0;
  const ask = async (query: string, credentials: string) => {
    while (!isOver) {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${credentials}` };
      const signal = AbortSignal.timeout(30);
      // Some clients go away while their operation runs.
      await fetch(`${engine.url}/graphql`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ query }),
        signal: answers % 3 === 0 ? signal : null,
      })
        .then((response) => response.text())
        .catch(() => undefined);
      answers += 1;
    }
  };
  const clients = Array.from({ length: 5 }, () => createSocketClient(engine.url, ADMIN_API_KEY));
  for (const client of clients) {
    for (const query of [WATCH, READ, READ, PUBLISH]) {
      const run = (): void => {
        client.subscribe(
          { query },
          {
            next: () => undefined,
            error: () => undefined,
            complete: () => {
              if (!isOver) run();
            },
          },
        );
      };
      run();
    }
  }
  const asking = [READ, PUBLISH, READ, PUBLISH].map((query, index) => ask(query, index < 2 ? key : ADMIN_API_KEY));
  await waitFor(() => answers > 20, { what: 'load' });
  const status = await engine.terminate();
  isOver = true;
  await Promise.all(asking);
  for (const client of clients) await client.dispose();
  expect(status).toBe(0);
  const lines = engine.output().split('\n');
  expect(
    lines.filter((line) => /after calling end|CONNECTION_CLOSED|ERR_UNHANDLED|"level":(50|60)/.test(line)),
  ).toEqual([]);
});

it('an operation goes on to its end when its socket is closed by the stop', async () => {
  const engine = await startEngineProcess(services, { ROLES: 'api' });
  const unlock = await lockTable(services.databaseUrl, { table: 'event_types' });
  const client = createSocketClient(engine.url, ADMIN_API_KEY);
  const put = (name: string) => `${name}: putEventType(input: { name: "${name}" }) { __typename }`;
  client.subscribe(
    { query: `mutation { ${put('first')} ${put('second')} }` },
    { next: () => undefined, error: () => undefined, complete: () => undefined },
  );
  const isWaiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%event_types%'`;
  await waitFor(async () => (await services.query(isWaiting)).length > 0, { what: 'the mutation to wait' });
  const stopped = engine.terminate();
  await waitFor(() => engine.output().includes('stopping'), { what: 'the stop' });
  // Longer than it takes to close the connections.
  await pause(2_500);
  await unlock();
  expect(await stopped).toBe(0);
  expect(await services.query('SELECT name FROM event_types ORDER BY name')).toEqual([
    { name: 'first' },
    { name: 'second' },
  ]);
  expect(engine.output()).not.toContain('after calling end');
  await client.dispose();
});
