import { pino } from 'pino';
import { afterEach, expect, inject, it } from 'vitest';
import { findFreePort } from '../../src/embedded/free-port.ts';
import { readNatsServerInfo } from '../../src/embedded/nats-server-info.ts';
import { EventBus } from '../../src/events/event-bus.ts';
import { ServerProcess } from '../support/server-process.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function startServer(...args: string[]): Promise<string> {
  const folder = await createTempFolder();
  const port = await findFreePort();
  const common = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', folder.path];
  const server = new ServerProcess({
    commandLine: [inject('natsServer'), ...common, ...args],
    stopSignal: 'SIGTERM',
    isReady: async () => (await readNatsServerInfo(port).catch(() => undefined)) !== undefined,
  });
  await server.start();
  cleanUps.push(
    () => folder.remove(),
    () => server.stop(),
  );
  return `127.0.0.1:${port}`;
}

function startBus(url: string): { bus: EventBus; logged: () => string } {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const bus = new EventBus({ servers: [url], log, receivesLog: false });
  bus.start();
  cleanUps.push(() => bus.stop());
  return { bus, logged: () => lines.join('') };
}

it('a name and password in the URL are given to the server, and only the right ones let us in', async () => {
  const server = await startServer('--user', 'engine', '--pass', 'p@ss');
  const right = startBus(`nats://engine:p%40ss@${server}`);
  await waitFor(() => right.bus.connected, { what: 'the connection' });
  const wrong = startBus(`nats://engine:nope@${server}`);
  await waitFor(() => wrong.logged().includes('NATS cannot be reached'), { what: 'the refusal' });
  expect(wrong.bus.connected).toBe(false);
  expect(wrong.logged()).not.toContain('nope');
});

it('a token in the URL is given to the server', async () => {
  const server = await startServer('--auth', 'open-sesame');
  const { bus } = startBus(`nats://open-sesame@${server}`);
  await waitFor(() => bus.connected, { what: 'the connection' });
});

it('tls:// never connects in plain text', async () => {
  const server = await startServer();
  const { bus, logged } = startBus(`tls://${server}`);
  await waitFor(() => logged().includes('NATS cannot be reached'), { what: 'the refusal' });
  expect(bus.connected).toBe(false);
});
