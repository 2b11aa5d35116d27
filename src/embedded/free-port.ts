import { once } from 'node:events';
import { createServer } from 'node:net';
import { StartError } from '../lib/start-error.ts';

/** A loopback port that was free a moment ago. */
export async function findFreePort(): Promise<number> {
  return listenBriefly(0);
}

/** Why a program of this user cannot listen on a loopback port; undefined when it could a moment ago. */
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
 * Tries `start` on up to three free ports: somebody else may take one between our look and our use, which shows at
 * once. A start that failed later failed for another reason.
 */
export async function startOnFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  const latest = Date.now() + 10_000;
  for (let tries = 1; ; tries += 1) {
    try {
      return await start(await findFreePort());
    } catch (error) {
      if (tries === 3 || Date.now() > latest) {
        throw error;
      }
    }
  }
}
