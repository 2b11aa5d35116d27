import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/**
 * A receiver with its own event loop, which runs while the event loop of the test is blocked or busy. Node accepts one
 * connection in each turn of the loop, so senders to a receiver in a busy loop would time out.
 */
export type OtherLoopReceiver = {
  readonly port: number;
  /** The header `webhook-delivery` of each request, in order. */
  readonly deliveries: readonly string[];
  /** Resolves when the next request has been received. */
  requested(): Promise<unknown>;
  /** Sends the rest of the bodies, even while the caller's event loop is blocked. */
  endBodies(): void;
  close(): Promise<void>;
};

/** Sends a status 200 and headers `headersMs` after each request, or never; the body ends then, or with endBodies(). */
export async function startOtherLoopReceiver({
  headersMs = 0,
  holdsBodies = false,
}: {
  readonly headersMs?: number | 'never';
  readonly holdsBodies?: boolean;
}): Promise<OtherLoopReceiver> {
  const worker = new Worker(SOURCE, { eval: true, workerData: { headersMs, holdsBodies } });
  const [port] = (await once(worker, 'message')) as [number];
  const deliveries: string[] = [];
  worker.on('message', (delivery: string) => deliveries.push(delivery));
  return {
    port,
    deliveries,
    requested: () => once(worker, 'message'),
    endBodies: () => {
      worker.postMessage('end');
    },
    close: async () => {
      await worker.terminate();
    },
  };
}

/** Blocks the event loop of the caller. */
export function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const SOURCE = `
  const { createServer } = require('node:http');
  const { parentPort, workerData: { headersMs, holdsBodies } } = require('node:worker_threads');
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      parentPort.postMessage(request.headers['webhook-delivery'] ?? '');
      if (headersMs === 'never') return;
      setTimeout(() => {
        response.writeHead(200);
        response.write('be');
        if (holdsBodies) parentPort.once('message', () => response.end('gin'));
        else response.end('gin');
      }, headersMs);
    });
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => parentPort.postMessage(server.address().port));
`;
