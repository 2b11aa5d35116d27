import { once } from 'node:events';
import { createServer, connect as openSocket, type Socket } from 'node:net';

export type TcpProxyOptions = {
  readonly port: number;
  /** What is passed on of a chunk of bytes, as Latin-1 text; by default all of it. */
  readonly toServer?: (text: string) => string;
  readonly toClient?: (text: string) => string;
};

export type TcpProxy = { readonly port: number; stop(): Promise<void> };

/** Stands between a client and a server on loopback, and changes what they say. */
export async function startTcpProxy({ port, toServer, toClient }: TcpProxyOptions): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = openSocket(port, '127.0.0.1');
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (bytes) => upstream.write(change(bytes, toServer)));
    upstream.on('data', (bytes) => client.write(change(bytes, toClient)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function change(bytes: Buffer, by: (text: string) => string = (text) => text): Buffer {
  return Buffer.from(by(bytes.toString('latin1')), 'latin1');
}
