import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below 32,768, where Linux begins to give ports to connections; macOS and Windows begin at 49,152. */
const FROM = 15_000;
const SHARES = 16;
const SHARE = 1_000;

/** Vitest numbers its workers from 1; programs that tests start, and those outside tests, have the share 0. */
const FIRST = FROM + (Number(process.env['VITEST_POOL_ID'] ?? 0) % SHARES) * SHARE;
let next = randomInt(SHARE);

/**
 * A loopback port that nobody listens on, and that no connection is given either: not before what is to listen there
 * does, which can take seconds, nor while it is down between a kill and its next start. No other worker finds it
 * meanwhile, because each has a share of the ports, and this one does not find it again before the rest of its share.
 */
export async function findOwnPort(): Promise<number> {
  for (;;) {
    const port = FIRST + next;
    next = (next + 1) % SHARE;
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
