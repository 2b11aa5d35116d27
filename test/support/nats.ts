import { inject } from 'vitest';
import { findFreePort } from '../../src/embedded/free-port.ts';
import { prepareNatsStore } from '../../src/embedded/nats.ts';
import { ServerProcess } from './server-process.ts';
import { createTempFolder } from './temp-folder.ts';

export type TestNats = {
  readonly url: string;
  readonly port: number;
  /** SIGKILL; it stays down until `start()`. */
  kill9(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Again after `kill9()`: same port, same store. */
  start(): Promise<void>;
  /** Ends it and deletes its store. */
  stop(): Promise<void>;
};

/** A nats-server with JetStream of the test file's own, configured as the embedded one is. */
export async function startTestNats(): Promise<TestNats> {
  const folder = await createTempFolder();
  const store = await prepareNatsStore({ directory: folder.path, binary: inject('natsServer') });
  const port = await findFreePort();
  const server = new ServerProcess({
    commandLine: await store.configure(port),
    stopSignal: 'SIGTERM',
    isReady: () => store.isReady(port),
  });
  await server.start();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    kill9: () => server.kill9(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    start: () => server.start(),
    stop: async () => {
      await server.stop();
      await folder.remove();
    },
  };
}
