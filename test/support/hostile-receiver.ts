import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';

/** A plain TCP server: it passes each connection to `behave` once the headers of a request have arrived. */
export type HostileReceiver = {
  readonly url: string;
  readonly port: number;
  readonly connectionCount: () => number;
  readonly openConnections: () => number;
  /** Reads and discards everything: a socket that is not read does not report that its peer has closed. */
  drain(): void;
  close(): Promise<void>;
};

export type Behaviour = { readonly when: 'connected' | 'requested'; readonly behave: (socket: Socket) => void };

export async function startHostileReceiver({ when, behave }: Behaviour): Promise<HostileReceiver> {
  const open = new Set<Socket>();
  let connectionCount = 0;
  const server = createServer((socket) => {
    connectionCount += 1;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    // The tests expect the sender to abort the connection.
    socket.on('error', () => undefined);
    if (when === 'connected') {
      behave(socket);
      return;
    }
    let received = '';
    socket.on('data', (chunk) => {
      received = received.slice(-3) + chunk.toString('latin1');
      if (!received.includes('\r\n\r\n')) return;
      received = '';
      behave(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    connectionCount: () => connectionCount,
    openConnections: () => open.size,
    drain: () => {
      for (const socket of open) socket.resume();
    },
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on TCP');
  return address.port;
}

/** Writes `next()` repeatedly, as fast as the peer reads or every `everyMs`, until the connection ends. */
function keepWriting(socket: Socket, next: () => string | Buffer, everyMs?: number): void {
  if (everyMs === undefined) {
    const pump = () => {
      while (!socket.destroyed && socket.write(next()));
    };
    socket.on('drain', pump);
    pump();
    return;
  }
  const timer = setInterval(() => socket.write(next()), everyMs);
  socket.on('close', () => {
    clearInterval(timer);
  });
}

const answer = (text: string | Buffer): Behaviour => ({ when: 'requested', behave: (socket) => socket.write(text) });
const answerAndEnd = (text: string): Behaviour => ({ when: 'requested', behave: (socket) => socket.end(text) });
const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;

function keepAnswering(start: string, next: () => string | Buffer, everyMs?: number): Behaviour {
  return {
    when: 'requested',
    behave: (socket) => {
      socket.write(start);
      keepWriting(socket, next, everyMs);
    },
  };
}

/** Misbehaviour of receivers, by name. */
export const HOSTILITIES = {
  'never answers': { when: 'requested', behave: () => undefined },
  'never reads': { when: 'connected', behave: (socket) => socket.pause() },
  'closes at once': { when: 'connected', behave: (socket) => socket.end() },
  'resets at once': { when: 'connected', behave: (socket) => socket.resetAndDestroy() },
  'closes after the request': { when: 'requested', behave: (socket) => socket.end() },
  'resets after the request': { when: 'requested', behave: (socket) => socket.resetAndDestroy() },
  'closes within the status line': answerAndEnd('HTTP/1.1 20'),
  'closes within the headers': answerAndEnd(`${OK}content-type: te`),
  'drips headers': keepAnswering(OK, () => 'x-a: b\r\n', 50),
  'sends headers without end': keepAnswering(OK, () => `x-a: ${'b'.repeat(1_000)}\r\n`),
  'sends one header without end': keepAnswering(`${OK}x-a: `, () => 'b'.repeat(1_000)),
  'sends 17 KiB of headers': answer(`${OK}${`x-a: ${'b'.repeat(1_000)}\r\n`.repeat(17)}content-length: 0\r\n\r\n`),
  'sends 1,200 header lines': answer(`${OK}${'a: b\r\n'.repeat(1_200)}content-length: 2\r\n\r\nok`),
  'sends garbage': answer('\x01\x02garbage\r\n\r\n'),
  'speaks SSH': { when: 'connected', behave: (socket) => socket.write('SSH-2.0-OpenSSH_9.2p1\r\n') },
  'speaks HTTP/2': { when: 'connected', behave: (socket) => socket.write(Buffer.from('000000040000000000', 'hex')) },
  'speaks Icecast': answer('ICY 200 OK\r\ncontent-length: 2\r\n\r\nok'),
  'speaks HTTP/0.9': answerAndEnd('<html>hello</html>'),
  'speaks TLS': { when: 'connected', behave: (socket) => socket.write(Buffer.from('15030300020228', 'hex')) },
  'sends a bad header byte': answer(`${OK}x-a: a\0b\r\n\r\n`),
  'sends a header without colon': answer(`${OK}nonsense\r\n\r\n`),
  'sends content-length and chunked': answer(`${OK}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
  'sends two content-lengths': answer(`${OK}content-length: 2\r\ncontent-length: 3\r\n\r\nok!`),
  'sends a negative content-length': answer(`${OK}content-length: -5\r\n\r\nhello`),
  'sends a content-length that is too large for a number': answer(
    `${OK}content-length: ${'9'.repeat(30)}\r\n\r\nhello`,
  ),
  'sends a folded header': answer(`${OK}x-a: b\r\n c\r\ncontent-length: 2\r\n\r\nok`),
  'ends its lines with LF alone': answer('HTTP/1.1 200 OK\ncontent-length: 2\n\nok'),
  'stops within the status line': answer('HTTP/1.1 200'),
  'sends a reason without end': keepAnswering('HTTP/1.1 200 ', () => 'x'.repeat(1_000)),
  'sends empty lines without end': keepAnswering('', () => '\r\n', 50),
  'answers a status that is not a number': answer('HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n'),
  'answers 20': answer('HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n'),
  'answers 000': answer('HTTP/1.1 000 None\r\ncontent-length: 0\r\n\r\n'),
  'answers 1000': answer('HTTP/1.1 1000 Many\r\ncontent-length: 0\r\n\r\n'),
  'answers 099': answer('HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n'),
  'answers 600': answer('HTTP/1.1 600 High\r\ncontent-length: 0\r\n\r\n'),
  'answers 999': answer('HTTP/1.1 999 Highest\r\ncontent-length: 0\r\n\r\n'),
  'answers 101': answer('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'),
  'answers 101 without upgrade': answer('HTTP/1.1 101 Switching Protocols\r\n\r\n'),
  'answers 101, then 200': answer(`HTTP/1.1 101 Switching Protocols\r\n\r\n${OK}content-length: 2\r\n\r\nok`),
  'drips 100 without end': keepAnswering('', () => 'HTTP/1.1 100 Continue\r\n\r\n', 200),
  // Many per write: the kernel buffers megabytes before back-pressure, and each write takes time of this thread.
  'answers 103 without end': keepAnswering('', () => 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(100)),
  'answers 9 times 100': answer('HTTP/1.1 100 Continue\r\n\r\n'.repeat(9)),
  'answers 8 times 100, then 200': answer(
    `${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(8)}${OK}content-length: 2\r\n\r\nok`,
  ),
  'answers in HTTP/1.0': answerAndEnd('HTTP/1.0 200 OK\r\n\r\nok'),
  'answers 200 and offers an upgrade': answer(
    `${OK}connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok`,
  ),
  'answers 404': answer('HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone'),
  'answers 410': answer('HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n'),
  'answers 429 with Retry-After': answer(
    'HTTP/1.1 429 Slow Down\r\nRetry-After: 30\r\nRETRY-AFTER: 60\r\ncontent-length: 0\r\n\r\n',
  ),
  'answers 500': answer('HTTP/1.1 500 Internal Server Error\r\ncontent-length: 6\r\n\r\nbroken'),
  'answers 503 and closes': answerAndEnd('HTTP/1.1 503 Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'),
  'answers 302': answer('HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n'),
  'answers 307 to itself': answer('HTTP/1.1 307 Temporary Redirect\r\nlocation: /hook\r\ncontent-length: 0\r\n\r\n'),
  'answers 304': answer('HTTP/1.1 304 Not Modified\r\n\r\n'),
  'answers 204': answer('HTTP/1.1 204 No Content\r\n\r\n'),
  'answers 204 with a body': answer('HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello'),
  'answers twice': answer(`${OK}content-length: 2\r\n\r\nok${OK}content-length: 4\r\n\r\nevil`),
  'sends bytes after the body': answer(`${OK}content-length: 2\r\n\r\nokgarbage\r\n\r\n`),
  'sends a body without end': keepAnswering(`${OK}\r\n`, () => 'x'.repeat(65_536)),
  'sends chunks without end': keepAnswering(CHUNKED, () => `400\r\n${'x'.repeat(1_024)}\r\n`),
  'sends chunk extensions without end': keepAnswering(`${CHUNKED}2;`, () => 'x'.repeat(1_000)),
  'sends trailers without end': keepAnswering(`${CHUNKED}2\r\nok\r\n0\r\n`, () => `x-a: ${'b'.repeat(1_000)}\r\n`),
  'drips the body': keepAnswering(`${OK}content-length: 100000\r\n\r\n`, () => 'x', 50),
  'never sends the body': answer(`${OK}content-length: 5\r\n\r\n`),
  'closes within the body': answerAndEnd(`${OK}content-length: 10\r\n\r\nhello`),
  'resets within the body': {
    when: 'requested',
    behave: (socket) => {
      // Resets after the peer has read the data; an earlier reset would overtake it.
      socket.write(`${OK}content-length: 10\r\n\r\nhello`, () => setImmediate(() => socket.resetAndDestroy()));
    },
  },
  'closes within a chunk': answerAndEnd(`${CHUNKED}a\r\nhello`),
  'sends a bad chunk size': answer(`${CHUNKED}zz\r\nhello`),
  'sends a gzip bomb': answer(
    Buffer.concat([
      Buffer.from(`${OK}content-encoding: gzip\r\nconnection: close\r\n\r\n`),
      gzipSync(Buffer.alloc(30_000_000)),
    ]),
  ),
  'says gzip and sends text': answer(`${OK}content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello`),
  'names a charset that does not exist': answer(
    `${OK}content-type: text/plain; charset=klingon\r\ncontent-length: 2\r\n\r\nok`,
  ),
  'sends UTF-16': answer(
    Buffer.concat([
      Buffer.from(`${OK}content-type: text/plain; charset=utf-16le\r\ncontent-length: 4\r\n\r\n`),
      Buffer.from('hi', 'utf16le'),
    ]),
  ),
  'sends NUL and broken UTF-8': answer(Buffer.from(`${OK}content-length: 4\r\n\r\na\0\xffb`, 'latin1')),
  'sends 20,000 bytes': answer(`${OK}content-length: 20000\r\n\r\n${'x'.repeat(20_000)}`),
  'sends 20,001 bytes': answer(`${OK}content-length: 20001\r\n\r\n${'x'.repeat(20_001)}`),
  'refuses a large body and closes': {
    when: 'connected',
    behave: (socket) => {
      socket.once('readable', () => socket.end('HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig'));
    },
  },
  'answers before it reads the body': {
    when: 'connected',
    behave: (socket) => {
      socket.once('readable', () => socket.write('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n'));
    },
  },
} as const satisfies Readonly<Record<string, Behaviour>>;

export type Hostility = keyof typeof HOSTILITIES;
