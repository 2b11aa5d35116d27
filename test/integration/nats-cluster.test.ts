import { readFile } from 'node:fs/promises';
import { connect, type NatsConnection } from 'nats';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { NatsClient } from '../../src/nats/connection.ts';
import { RollCall } from '../../src/nats/roll-call.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { type NatsCluster, startNatsCluster } from '../support/nats-cluster.ts';
import { TEST_SEAL } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps(afterAll);
let logged: Record<string, unknown>[] = [];
const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(JSON.parse(line) as never) });
let cluster: NatsCluster;

beforeAll(async () => {
  cluster = await startNatsCluster(inject('natsServer'), { password: 'right' });
  cleanUps.push(() => cluster.stop());
});

function createBus(password: string, members = cluster.members): NatsClient {
  logged = [];
  const servers = members.map(({ port }) => `nats://engine:${password}@127.0.0.1:${port}`);
  const natsClient = new NatsClient({ servers, streams: { replicas: 3 }, seal: TEST_SEAL, log });
  cleanUps.push(() => natsClient.stop());
  return natsClient;
}

function startBus(password: string): NatsClient {
  const natsClient = createBus(password);
  natsClient.start();
  return natsClient;
}

/** Number of log-ins that the servers have rejected since their start. */
async function countRefusals(): Promise<number> {
  const logs = await Promise.all(cluster.members.map(({ logFile }) => readFile(logFile, 'utf8')));
  return logs.join('').match(/authentication error/g)?.length ?? 0;
}

/** Milliseconds from one rejected log-in to the fifth after it. */
async function timeFiveTries(): Promise<number> {
  const before = await countRefusals();
  await waitFor(async () => (await countRefusals()) > before, { what: 'a try' });
  const first = { at: performance.now(), count: await countRefusals() };
  await waitFor(async () => (await countRefusals()) >= first.count + 5, { what: 'five tries' });
  return performance.now() - first.at;
}

const complaints = () => logged.filter(({ msg }) => String(msg).startsWith('NATS is unavailable'));

it('NATS_REPLICAS=3 creates streams with three replicas', async () => {
  const natsClient = startBus('right');
  await waitFor(() => natsClient.connected, { what: 'the streams' });
  const connection = await connect({ port: cluster.members[0]?.port ?? 0, user: 'engine', pass: 'right' });
  const jsm = await connection.jetstreamManager();
  for (const stream of ['EVENTS', 'DELIVERIES']) {
    const { config, cluster: raft } = await jsm.streams.info(stream);
    expect([stream, config.num_replicas, raft?.replicas?.length]).toEqual([stream, 3, 2]);
  }
  await connection.close();
  await natsClient.stop();
});

it('processes on different servers of the cluster answer a roll call', async () => {
  const buses = cluster.members.map((member) => createBus('right', [member]));
  const calls = buses.map(
    (nats, index) => new RollCall({ nats, log, report: () => Promise.resolve(`process ${index}`), parse: String }),
  );
  for (const natsClient of buses) natsClient.start();
  await waitFor(() => buses.every(({ connected }) => connected), { what: 'the connections' });
  const list = async () => (await calls[0]?.ask())?.entries.map(({ report }) => report).toSorted();
  await waitFor(async () => (await list())?.length === 3, { what: 'the answers' });
  expect(await list()).toEqual(['process 0', 'process 1', 'process 2']);
  await calls[1]?.stop();
  await waitFor(async () => (await list())?.length === 2, { what: 'the farewell' });
  for (const natsClient of buses) await natsClient.stop();
});

it('the client changes from a server that is isolated from the cluster to another one', async () => {
  const natsClient = startBus('right');
  let current: NatsConnection | undefined;
  natsClient.listen({
    onOpen: (connection) => {
      current = connection;
    },
  });
  await waitFor(() => natsClient.connected, { what: 'the streams' });
  const nameOfServer = () => current?.info?.server_name;
  const member = cluster.members.find(({ name }) => name === nameOfServer());
  await member?.isolate();
  // A publication without an answer makes the client check its server.
  await expect(natsClient.publish('deliveries.s1', Buffer.from('x'), { msgID: 'x' })).rejects.toThrow();
  const hasLeft = () => natsClient.connected && nameOfServer() !== member?.name;
  await waitFor(hasLeft, { what: 'another server' });
  expect(logged.map(({ msg }) => msg)).toContain('JetStream does not work on this server; trying the next one');
  await natsClient.stop();
  await member?.rejoin();
});

it('with a wrong password, the client tries about once a second and logs one line', async () => {
  const natsClient = startBus('wrong');
  expect(await timeFiveTries()).toBeGreaterThan(4_000);
  expect(complaints()).toEqual([
    expect.objectContaining({ reason: expect.stringContaining('refuses the user, password') as string }),
  ]);
  expect(natsClient.problems.join()).toContain('refuses the user, password');
  expect(JSON.stringify(logged)).not.toContain('wrong');
  await natsClient.stop();
});

it('if the password changes during a connection, the client also tries once a second and logs one line, until it is right', async () => {
  const natsClient = startBus('right');
  await waitFor(() => natsClient.connected, { what: 'the connection' });
  const restart = async (password: string) => {
    await Promise.all(cluster.members.map((member) => member.terminate()));
    await Promise.all(cluster.members.map((member) => member.configure({ password })));
    await Promise.all(cluster.members.map((member) => member.start()));
  };
  await restart('another');
  // Later than the checks during the outage.
  await waitFor(() => natsClient.problems.join().includes('refuses the user, password'), { what: 'the reason' });
  expect(await timeFiveTries()).toBeGreaterThan(4_000);
  expect(complaints().length).toBeLessThanOrEqual(1);
  await restart('right');
  await waitFor(() => natsClient.connected, { what: 'the connection' });
});
