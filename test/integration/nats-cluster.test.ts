import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'nats';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { readNatsServerInfo } from '../../src/embedded/nats-server-info.ts';
import { NatsClient } from '../../src/nats/connection.ts';
import { findOwnPort } from '../support/own-port.ts';
import { ServerProcess } from '../support/server-process.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { TEST_SEAL } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

type Member = { readonly port: number; readonly server: ServerProcess; readonly folder: string };

const members: Member[] = [];
const cleanUps: (() => Promise<void>)[] = [];
let logged: Record<string, unknown>[] = [];
const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(JSON.parse(line) as never) });

const fileOf = ({ folder }: Pick<Member, 'folder'>, name: string) => join(folder, name);
let configure: (password: string) => Promise<void>;

beforeAll(async () => {
  const ports = [await findOwnPort(), await findOwnPort(), await findOwnPort()];
  const routePorts = [await findOwnPort(), await findOwnPort(), await findOwnPort()];
  const routes = routePorts.map((port) => `"nats://127.0.0.1:${port}"`).join(', ');
  for (const port of ports) {
    const temp = await createTempFolder();
    const { path: folder } = temp;
    const server = new ServerProcess({
      commandLine: [inject('natsServer'), '-c', fileOf({ folder }, 'nats.conf'), '-l', fileOf({ folder }, 'log')],
      stopSignal: 'SIGTERM',
      isReady: async () => (await readNatsServerInfo(port)) !== undefined,
    });
    members.push({ port, server, folder });
    cleanUps.push(
      () => temp.remove(),
      () => server.stop(),
    );
  }
  configure = async (password) => {
    for (const [index, member] of members.entries()) {
      const { port, folder } = member;
      const lines = [
        `server_name: n${index}`,
        `listen: "127.0.0.1:${port}"`,
        `jetstream { store_dir: "${folder}" }`,
        `authorization { user: engine, password: "${password}" }`,
        `cluster { name: test, listen: "127.0.0.1:${routePorts[index]}", routes: [${routes}] }`,
      ];
      await writeFile(fileOf(member, 'nats.conf'), lines.join('\n'));
    }
  };
  await configure('right');
  await Promise.all(members.map(({ server }) => server.start()));
});
afterAll(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function startBus(password: string): NatsClient {
  logged = [];
  const servers = members.map(({ port }) => `nats://engine:${password}@127.0.0.1:${port}`);
  const bus = new NatsClient({ servers, streams: { replicas: 3 }, seal: TEST_SEAL, log });
  bus.start();
  cleanUps.push(() => bus.stop());
  return bus;
}

/** How many log-ins the servers have refused so far. */
async function countRefusals(): Promise<number> {
  const logs = await Promise.all(members.map((member) => readFile(fileOf(member, 'log'), 'utf8')));
  return logs.join('').match(/authentication error/g)?.length ?? 0;
}

/** Milliseconds from one refused log-in to the fifth after it. */
async function timeFiveTries(): Promise<number> {
  const before = await countRefusals();
  await waitFor(async () => (await countRefusals()) > before, { what: 'a try' });
  const first = { at: performance.now(), count: await countRefusals() };
  await waitFor(async () => (await countRefusals()) >= first.count + 5, { what: 'five tries', timeoutMs: 30_000 });
  return performance.now() - first.at;
}

const complaints = () => logged.filter(({ msg }) => String(msg).startsWith('NATS cannot be reached'));

it('NATS_REPLICAS=3 makes streams of three replicas', async () => {
  const bus = startBus('right');
  await waitFor(() => bus.connected, { what: 'the streams', timeoutMs: 60_000 });
  const connection = await connect({ port: members[0]?.port ?? 0, user: 'engine', pass: 'right' });
  const jsm = await connection.jetstreamManager();
  for (const stream of ['EVENTS', 'DELIVERIES']) {
    const { config, cluster } = await jsm.streams.info(stream);
    expect([stream, config.num_replicas, cluster?.replicas?.length]).toEqual([stream, 3, 2]);
  }
  await connection.close();
  await bus.stop();
});

it('a wrong password against a cluster is about one try a second, and one line in the log', async () => {
  const bus = startBus('wrong');
  expect(await timeFiveTries()).toBeGreaterThan(4_000);
  expect(complaints()).toEqual([
    expect.objectContaining({ reason: expect.stringContaining('refuses the user, password') as string }),
  ]);
  expect(bus.problems.join()).toContain('refuses the user, password');
  expect(JSON.stringify(logged)).not.toContain('wrong');
  await bus.stop();
});

it('so is a password that is changed while the program is connected, until it is right again', async () => {
  const bus = startBus('right');
  await waitFor(() => bus.connected, { what: 'the connection', timeoutMs: 60_000 });
  const restart = async (password: string) => {
    await Promise.all(members.map(({ server }) => server.stop()));
    await configure(password);
    await Promise.all(members.map(({ server }) => server.start()));
  };
  await restart('another');
  // Later than the checks during the outage.
  await waitFor(() => bus.problems.join().includes('refuses the user, password'), { what: 'the reason' });
  expect(await timeFiveTries()).toBeGreaterThan(4_000);
  expect(complaints().length).toBeLessThanOrEqual(1);
  await restart('right');
  await waitFor(() => bus.connected, { what: 'the connection', timeoutMs: 60_000 });
}, 180_000);
