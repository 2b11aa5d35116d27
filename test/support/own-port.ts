import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below 32,768, where Linux begins to give ports to connections; macOS and Windows begin at 49,152. */
const FROM = 15_000;
const TO = 32_000;

/**
 * A loopback port that nobody listens on, and that no connection is given either: not before what is to listen there
 * does, which can take seconds, nor while it is down between a kill and its next start.
 */
export async function findOwnPort(): Promise<number> {
  for (;;) {
    const port = randomInt(FROM, TO);
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
