import { connect } from 'nats';
import pg from 'pg';
import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { copyTestDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

/** The second step of docs/backup.md, `nats consumer rm EVENTS dispatcher`. */
async function deleteDispatcherConsumer(natsUrl: string): Promise<void> {
  const connection = await connect({ servers: natsUrl });
  await (await connection.jetstreamManager()).consumers.delete('EVENTS', 'dispatcher');
  await connection.close();
}

async function publishOverGraphql(app: TestApp, id: string): Promise<void> {
  const input = { tenant: 'acme', type: 'order.paid', data: 1, id };
  const document = `mutation ($input: PublishEventInput!) { publishEvent(input: $input) { ... on Error { message } } }`;
  expect(await app.graphql(document, { input })).toEqual({ publishEvent: {} });
}

it('the events after a backup are restored from EVENTS, as docs/backup.md describes', async () => {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  let isDown = true;
  const receiver = await startReceiver(({ headers }) => ({
    status: isDown && headers['webhook-id'] === 'pending' ? 503 : 204,
  }));
  cleanUps.push(() => receiver.close());
  const sent = (id: string) => receiver.requests.filter(({ headers }) => headers['webhook-id'] === id).length;
  const publish = (id: string) => services.publish('events.acme.order.paid', '{}', { 'Nats-Msg-Id': id });
  const statusOf = async (id: string) => {
    const { events } = await app.graphql<Events>(EVENTS);
    return events.edges.find(({ node }) => node.id === id)?.node.deliveries.edges.map(({ node }) => node.status);
  };
  const ended = (id: string) => waitFor(async () => (await statusOf(id))?.[0] === 'SUCCESS', { what: `${id} to end` });
  // The retry delay is longer than the test.
  const env = { RETRY_SCHEDULE: '1h' };

  let app = await startTestApp(services, { env });
  const { id: subscriptionId } = await app.subscribe({ url: receiver.url });
  await publish('before');
  await publish('pending');
  await ended('before');
  await waitFor(async () => (await attemptsOf(services)) === 2, { what: 'both attempts' });
  await app.stop();
  const backup = await copyTestDatabase(services.databaseUrl);
  cleanUps.push(() => backup.drop());

  isDown = false;
  app = await startTestApp(services, { env });
  const retry = `mutation { retryDelivery(id: "${await deliveryOf(app, 'pending')}") { ... on Error { message } } }`;
  expect(await app.graphql(retry)).toEqual({ retryDelivery: {} });
  await publish('after');
  await services.publish('events.acme.order.paid', '{"without":"an id"}');
  await publishOverGraphql(app, 'over-graphql');
  await receiver.waitForRequests(6);
  for (const id of ['pending', 'after', 'over-graphql']) await ended(id);
  const withoutId = receiver.requests
    .map(({ headers }) => String(headers['webhook-id']))
    .find((id) => !['before', 'pending', 'after', 'over-graphql'].includes(id));
  await app.stop();

  // Without a restart, JetStream drops messages with the ids of earlier messages for two minutes.
  await services.nats.kill9();
  await services.nats.start();
  await deleteDispatcherConsumer(services.nats.url);
  app = await startTestApp({ ...services, databaseUrl: backup.url }, { env });
  cleanUps.push(() => app.stop());
  await receiver.waitForRequests(8);
  await ended('after');
  await ended(withoutId ?? '');
  // Deliveries that succeeded before the backup are not sent again; pending ones are sent.
  expect([sent('before'), sent('pending'), sent('after'), sent(withoutId ?? '')]).toEqual([1, 2, 2, 2]);
  expect([await statusOf('before'), await statusOf('pending')]).toEqual([['SUCCESS'], ['PENDING']]);
  // This event was never in EVENTS.
  expect(await statusOf('over-graphql')).toBeUndefined();
  expect(await countOf(backup.url, `SELECT FROM deliveries WHERE subscription_id = '${subscriptionId}'`)).toBe(4);
});

type Connection<Node> = { readonly edges: readonly { readonly node: Node }[] };
type Events = {
  readonly events: Connection<{
    readonly id: string;
    readonly deliveries: Connection<{ readonly id: string; readonly status: string }>;
  }>;
};
const EVENTS = '{ events(first: 50) { edges { node { id deliveries(first: 5) { edges { node { id status } } } } } } }';

async function deliveryOf(app: TestApp, eventId: string): Promise<string> {
  const { events } = await app.graphql<Events>(EVENTS);
  return events.edges.find(({ node }) => node.id === eventId)?.node.deliveries.edges[0]?.node.id ?? '';
}

async function attemptsOf({ databaseUrl }: { readonly databaseUrl: string }): Promise<number> {
  return countOf(databaseUrl, 'SELECT FROM attempts');
}

async function countOf(url: string, sql: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rowCount ?? 0;
  } finally {
    await client.end();
  }
}
