import { Socket } from 'node:net';
import pg from 'pg';
import { atMost } from '../lib/pause.ts';

/** A connection outside the pools, for what needs a session of its own. */
export type Connection = {
  readonly client: pg.Client;
  /** Says goodbye to the server for at most a second; one that hangs is left without. Never rejects. */
  readonly close: () => Promise<void>;
};

const CONNECT_MS = 5_000;
const CLOSE_MS = 1_000;
/** After this long without a byte the kernel asks ten times, once a second, whether the other side is still there. */
export const KEEP_ALIVE_MS = 10_000;

/** Opens a connection; rejects after 5 s at most. */
export async function openConnection(config: pg.ClientConfig): Promise<Connection> {
  // Our own socket, because pg offers no way to close a connection without the server's help.
  const socket = new Socket();
  const client = new pg.Client({
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: 'webhooks-engine',
    ...config,
    stream: () => socket,
  });
  // A connection that breaks fails the statement; without a listener it would also end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    client,
    close: async () => {
      await atMost(CLOSE_MS, client.end());
      socket.destroy();
    },
  };
}
