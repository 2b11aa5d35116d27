import { once } from 'node:events';
import { createServer, connect as openSocket, type Socket } from 'node:net';

type Change = (text: string) => string | undefined;

export type TcpProxyOptions = {
  readonly port: number;
  /** The proxy's own port, for example the port of a stopped server; by default a free port. */
  readonly ownPort?: number;
  /** The proxy's own address; by default 127.0.0.1. */
  readonly ownHost?: string;
  /** Maps each chunk, as Latin-1 text, to the text to forward; undefined ends the connection. Default: no change. */
  readonly toServer?: Change;
  readonly toClient?: Change;
};

export type TcpProxy = {
  readonly port: number;
  /** Drops all further data in both directions on the open connections, and keeps them open. */
  silence(): void;
  stop(): Promise<void>;
};

/** Proxies connections to a server on loopback, and can change the data of either direction. */
export async function startTcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  const { port, ownPort = 0, ownHost = '127.0.0.1', toServer, toClient } = options;
  const sockets = new Set<Socket>();
  const silent = new WeakSet<Socket>();
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
        if (!silent.has(socket)) other.destroy();
      });
    }
    client.on('data', (bytes) => {
      if (!silent.has(client)) passOn(bytes, { to: upstream, change: toServer });
    });
    upstream.on('data', (bytes) => {
      if (!silent.has(upstream)) passOn(bytes, { to: client, change: toClient });
    });
  });
  server.listen(ownPort, ownHost);
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    silence: () => {
      for (const socket of sockets) silent.add(socket);
    },
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function passOn(bytes: Buffer, { to, change }: { readonly to: Socket; readonly change: Change | undefined }): void {
  if (change === undefined) {
    to.write(bytes);
    return;
  }
  const text = change(bytes.toString('latin1'));
  if (text === undefined) to.destroy();
  else to.write(Buffer.from(text, 'latin1'));
}
