import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';
import { prepareNatsStore } from '../../src/embedded/nats.ts';
import { findOwnPort } from './own-port.ts';
import { ServerProcess } from './server-process.ts';
import { createTempFolder } from './temp-folder.ts';

export type TestNats = {
  readonly url: string;
  readonly port: number;
  /** Where JetStream keeps a stream: its `msgs`, and its consumers' state in `obs`. */
  readonly folderOf: (stream: string) => string;
  /** SIGKILL; it stays down until `start()`. */
  kill9(): Promise<void>;
  /** SIGTERM; it stays down until `start()`. */
  terminate(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Again after its end: same port, same store. */
  start(): Promise<void>;
  /** Ends it and deletes its store. */
  stop(): Promise<void>;
};

export type TestNatsOptions = {
  readonly binary?: string;
  /** How many bytes all streams together may take; default: as the embedded one. */
  readonly maxStoreBytes?: number;
  /** The same for an account, which everybody uses. */
  readonly maxAccountBytes?: number;
};

/** A nats-server with JetStream of the test file's own, configured as the embedded one is. */
export async function startTestNats({
  binary = inject('natsServer'),
  ...limits
}: TestNatsOptions = {}): Promise<TestNats> {
  const folder = await createTempFolder();
  const store = await prepareNatsStore({ directory: folder.path, binary });
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
