import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

export type UnansweredPort = { readonly port: number; close(): Promise<void> };

/**
 * A port whose SYNs are dropped: its backlog is full, and the thread that listens stands still and accepts nothing.
 * What a firewall that drops packets looks like from here. Port 0: any free one.
 */
export async function startUnansweredPort({ host = '127.0.0.1', port = 0 } = {}): Promise<UnansweredPort> {
  const listening = new Worker(LISTEN, { eval: true, workerData: { host, port } });
  const taken: unknown[] = await once(listening, 'message');
  const fillers: Socket[] = [];
  const target = { host, port: Number(taken[0]) };
  while (await isAccepted(target, fillers));
  return {
    port: target.port,
    close: async () => {
      for (const filler of fillers) filler.destroy();
      await listening.terminate();
    },
  };
}

/** Connects and stays; a connection to loopback that is not made within 200 ms was not answered. */
async function isAccepted(target: { host: string; port: number }, fillers: Socket[]): Promise<boolean> {
  if (fillers.length === 50) throw new Error('the backlog does not fill');
  const socket = connect(target);
  socket.on('error', () => undefined);
  fillers.push(socket);
  await once(socket, 'connect', { signal: AbortSignal.timeout(200) }).catch(() => undefined);
  // A process that stood still meanwhile has yet to hear that it is connected.
  await setImmediate();
  return !socket.connecting;
}

const LISTEN = `
  const { createServer } = require('node:net');
  const { parentPort, workerData } = require('node:worker_threads');
  const server = createServer().listen({ ...workerData, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
  });
`;
