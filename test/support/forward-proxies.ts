import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';

export type ForwardProxy = {
  readonly port: number;
  /** The requested targets, as `host:port`. */
  readonly targets: readonly string[];
  /** The credentials of each request, as `user:password`; empty if the request has none. */
  readonly credentials: readonly string[];
  /** The client addresses of the connections to the proxy. */
  readonly clients: readonly (string | undefined)[];
  /** The number of open connections to the proxy. */
  readonly openCount: () => number;
  close(): Promise<void>;
};

type Options = {
  /** Maps the requested target to the target that the proxy connects to; by default the same. */
  readonly route?: (target: string) => string;
  /** The status code (CONNECT) or reply code (SOCKS5) with which every request is rejected. */
  readonly refuseWith?: number;
  /** Never answers. */
  readonly hangs?: boolean;
  readonly requiresPassword?: boolean;
};

/** A forward proxy that understands CONNECT. */
export async function startConnectProxy({ route = (target) => target, refuseWith, hangs }: Options = {}) {
  const record = createRecord();
  const server = createHttpServer();
  server.on('connect', (request, client: Socket) => {
    record.sockets.add(client);
    client.on('error', () => undefined);
    const target = request.url ?? '';
    const [, encoded = ''] = /^Basic (.+)$/.exec(request.headers['proxy-authorization'] ?? '') ?? [];
    record.add({ target, credentials: Buffer.from(encoded, 'base64').toString(), client: client.remoteAddress });
    if (hangs === true) {
      client.once('end', () => client.destroy()).resume();
      return;
    }
    if (refuseWith !== undefined) {
      client.end(`HTTP/1.1 ${refuseWith} Refused\r\ncontent-length: 6\r\n\r\nsecret`);
      return;
    }
    relay(client, route(target), {
      onOpen: () => void client.write('HTTP/1.1 200 Connection established\r\n\r\n'),
      onError: () => client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'),
    });
  });
  return record.listen(server);
}

const SOCKS_REFUSED = 5;

/** A SOCKS5 proxy (RFC 1928, passwords of RFC 1929). Expects each client message in one chunk, as on loopback. */
export async function startSocksProxy(options: Options = {}) {
  const { route = (target: string) => target, refuseWith, requiresPassword = false } = options;
  const record = createRecord();
  const server = createServer((client) => {
    record.sockets.add(client);
    client.on('error', () => undefined);
    void (async () => {
      await nextChunk(client);
      client.write(Buffer.from([5, requiresPassword ? 2 : 0]));
      const credentials = requiresPassword ? readPassword(await nextChunk(client)) : '';
      if (requiresPassword) client.write(Buffer.from([1, 0]));
      const target = readTarget(await nextChunk(client));
      record.add({ target, credentials, client: client.remoteAddress });
      const reply = (code: number) => client.write(Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0]));
      if (refuseWith !== undefined) reply(refuseWith);
      else relay(client, route(target), { onOpen: () => void reply(0), onError: () => void reply(SOCKS_REFUSED) });
    })().catch(() => client.destroy());
  });
  return record.listen(server);
}

async function nextChunk(socket: Socket): Promise<Buffer> {
  // `as`: once() resolves with the arguments of the event.
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return chunk;
}

function readPassword(bytes: Buffer): string {
  const nameEnd = 2 + (bytes[1] ?? 0);
  return `${bytes.subarray(2, nameEnd).toString()}:${bytes.subarray(nameEnd + 1).toString()}`;
}

function readTarget(bytes: Buffer): string {
  const port = bytes.readUInt16BE(bytes.length - 2);
  const host = bytes.subarray(4, -2);
  if (bytes[3] === 1) return `${host.join('.')}:${port}`;
  if (bytes[3] === 3) return `${host.subarray(1).toString()}:${port}`;
  return `[${host.toString('hex').replaceAll(/(.{4})(?=.)/g, '$1:')}]:${port}`;
}

function relay(client: Socket, target: string, on: { onOpen: () => void; onError: () => void }): void {
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(target) ?? [];
  const upstream = connect(Number(port), host.replace(/^\[(.*)\]$/, '$1'));
  upstream.once('connect', () => {
    on.onOpen();
    client.pipe(upstream).pipe(client);
  });
  upstream.once('error', on.onError);
  client.on('close', () => upstream.destroy());
  upstream.on('close', () => client.end());
}

function createRecord() {
  const targets: string[] = [];
  const credentials: string[] = [];
  const clients: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  return {
    sockets,
    add: (seen: { target: string; credentials: string; client: string | undefined }) => {
      targets.push(seen.target);
      credentials.push(seen.credentials);
      clients.push(seen.client);
    },
    listen: async (server: Server): Promise<ForwardProxy> => {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      return {
        targets,
        credentials,
        clients,
        openCount: () => [...sockets].filter(({ destroyed }) => !destroyed).length,
        port: typeof address === 'object' ? (address?.port ?? 0) : 0,
        close: async () => {
          for (const socket of sockets) socket.destroy();
          server.close();
          await once(server, 'close');
        },
      };
    },
  };
}
