import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

export type UnansweredPort = { readonly port: number; close(): Promise<void> };

/**
 * A port whose SYNs are dropped: its backlog is full, and the listening thread is blocked and accepts nothing.
 * A client sees the same as behind a firewall that drops packets. Port 0 selects any free port.
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

/** Connects and keeps the connection; a loopback connection that takes more than 200 ms was not answered. */
async function isAccepted(target: { host: string; port: number }, fillers: Socket[]): Promise<boolean> {
  if (fillers.length === 50) throw new Error('the backlog does not fill');
  const socket = connect(target);
  socket.on('error', () => undefined);
  fillers.push(socket);
  await once(socket, 'connect', { signal: AbortSignal.timeout(200) }).catch(() => undefined);
  // After a stall of this process, the event loop has not processed the `connect` event yet.
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
