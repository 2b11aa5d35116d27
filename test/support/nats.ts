import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';
import { prepareNatsStore } from '../../src/embedded/nats.ts';
import { readNatsServerInfo } from '../../src/embedded/nats-server-info.ts';
import { type NatsVersion, readNatsVersion } from '../../src/embedded/nats-version.ts';
import { findOwnPort } from './own-port.ts';
import { ServerProcess } from './server-process.ts';
import { createTempFolder } from './temp-folder.ts';

export type TestNats = {
  readonly url: string;
  readonly port: number;
  /** The folder in which JetStream stores a stream: messages in `msgs`, the state of its consumers in `obs`. */
  readonly folderOf: (stream: string) => string;
  /** SIGKILL; it stays down until `start()`. */
  kill9(): Promise<void>;
  /** SIGTERM; it stays down until `start()`. */
  terminate(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Starts it again on the same port with the same store. */
  start(): Promise<void>;
  /** Stops it and deletes its store. */
  stop(): Promise<void>;
};

export type TestNatsOptions = {
  readonly binary?: string;
  /** Maximum bytes of all streams together; by default that of the embedded server. */
  readonly maxStoreBytes?: number;
  /** Maximum bytes of the account that all clients use. */
  readonly maxAccountBytes?: number;
};

/** By binary: from a process as large as this one, each start of a program is dear. */
const versions = new Map<string, Promise<NatsVersion>>();

function versionOf(binary: string): Promise<NatsVersion> {
  const version = versions.get(binary) ?? readNatsVersion(binary);
  versions.set(binary, version);
  return version;
}

/** Starts a nats-server with arguments that make it listen on this port. The caller must stop it. */
export async function startNatsServer(port: number, args: readonly string[]): Promise<ServerProcess> {
  const server = new ServerProcess({
    commandLine: [inject('natsServer'), ...args],
    stopSignal: 'SIGTERM',
    isReady: async () => (await readNatsServerInfo(port).catch(() => undefined)) !== undefined,
  });
  await server.start();
  return server;
}

/** Starts a nats-server with JetStream, configured like the embedded one. */
export async function startTestNats({
  binary = inject('natsServer'),
  ...limits
}: TestNatsOptions = {}): Promise<TestNats> {
  const folder = await createTempFolder();
  const store = await prepareNatsStore({ directory: folder.path, binary, version: await versionOf(binary) });
  const port = await findOwnPort();
  const commandLine = await store.configure(port);
  const configFile = commandLine.at(-1) ?? '';
  await writeFile(configFile, withLimits(await readFile(configFile, 'utf8'), limits));
  const server = new ServerProcess({
    commandLine,
    stopSignal: 'SIGTERM',
    isReady: () => store.isReady(port),
  });
  await server.start();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    folderOf: (stream) => join(folder.path, 'jetstream', '$G', 'streams', stream),
    kill9: () => server.kill9(),
    terminate: () => server.stop(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    start: () => server.start(),
    stop: async () => {
      await server.stop();
      await folder.remove();
    },
  };
}

function withLimits(config: string, { maxStoreBytes, maxAccountBytes }: TestNatsOptions): string {
  const limited =
    maxStoreBytes === undefined ? config : config.replace(/max_file_store: \d+/, `max_file_store: ${maxStoreBytes}`);
  if (maxAccountBytes === undefined) return limited;
  const account = `jetstream { max_file: ${maxAccountBytes} }, users: [{ user: all, password: all }]`;
  return `${limited}accounts { ALL { ${account} } }\nno_auth_user: all\n`;
}
