import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** A receiver with an event loop of its own, which goes on while the test's is blocked. */
export type OtherLoopReceiver = {
  readonly port: number;
  /** Resolves when the next request has come. */
  requested(): Promise<unknown>;
  close(): Promise<void>;
};

/**
 * Answers 200: `headersMs` after the request, or never, with a body that ends `bodyMs` later.
 */
export async function startOtherLoopReceiver({
  headersMs = 0,
  bodyMs = 0,
}: {
  readonly headersMs?: number | 'never';
  readonly bodyMs?: number;
}): Promise<OtherLoopReceiver> {
  const worker = new Worker(SOURCE, { eval: true, workerData: { headersMs, bodyMs } });
  const [port] = (await once(worker, 'message')) as [number];
  return {
    port,
    requested: () => once(worker, 'message'),
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
  const { parentPort, workerData: { headersMs, bodyMs } } = require('node:worker_threads');
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      parentPort.postMessage('request');
      if (headersMs === 'never') return;
      setTimeout(() => {
        response.writeHead(200);
        response.write('be');
        setTimeout(() => response.end('gin'), bodyMs);
      }, headersMs);
    });
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;
