import { once } from 'node:events';
import { createServer } from 'node:net';
import { StartError } from '../lib/start-error.ts';

/** Returns a loopback port that was free when it was checked. Another program can use it before the caller does. */
export async function findFreePort(): Promise<number> {
  return listenBriefly(0);
}

/** Returns why this user cannot listen on a loopback port; undefined if it could when it was checked. */
export async function findPortProblem(port: number): Promise<'taken' | 'not allowed' | undefined> {
  try {
    await listenBriefly(port);
    return undefined;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EADDRINUSE') return 'taken';
    if (code === 'EACCES') return 'not allowed';
    throw error;
  }
}

async function listenBriefly(port: number): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') {
    throw new StartError('no free port was found');
  }
  return address.port;
}

/**
 * Calls `start` with up to three free ports. Another program can use a port between the check and the start, and such a
 * start fails immediately. A failure more than 10 s after the first try has another cause and is not retried.
 */
export async function startOnFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  const latest = performance.now() + 10_000;
  for (let tries = 1; ; tries += 1) {
    try {
      return await start(await findFreePort());
    } catch (error) {
      if (tries === 3 || performance.now() > latest) {
        throw error;
      }
    }
  }
}
