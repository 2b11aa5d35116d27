import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** The shares end below 32,768, the first ephemeral port of Linux; macOS and Windows start at 49,152. */
const FROM = 15_000;
const SHARES = 16;
const SHARE = 1_000;

/** The first port of this worker's share. Vitest numbers its workers from 1; other processes have share 0. */
const FIRST = FROM + (Number(process.env['VITEST_POOL_ID'] ?? 0) % SHARES) * SHARE;
let next = randomInt(SHARE);

/**
 * Returns a loopback port without a listener that stays free: before its server listens, which can take seconds, and
 * while a killed server is down. The port is not ephemeral, so no connection gets it. Each worker has its own share of
 * the ports, and returns a port again only after all others of its share.
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
