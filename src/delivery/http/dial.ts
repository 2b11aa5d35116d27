import http from 'node:http';
import https from 'node:https';
import { connect, isIP, type Socket, type TcpNetConnectOpts } from 'node:net';
import { SocksClient } from 'socks';
import type { FailureReason } from '../../generated/prisma/enums.ts';
import { limitSignal } from '../../lib/waiting.ts';

/** A forward proxy. Credentials are decoded. */
export type EgressProxy = {
  readonly protocol: 'http' | 'https' | 'socks5';
  /** A name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
};

/** The route of connections to targets. Without any of these fields Node.js connects directly. */
export type EgressRoute = {
  readonly proxy?: EgressProxy | undefined;
  /** Connections start from these addresses: one of IPv4, one of IPv6, or both. Empty: the system chooses. */
  readonly sourceAddresses?: readonly string[] | undefined;
};

/** The forward proxy failed, or reported that it cannot reach the target. The message contains no address of the proxy. */
export class ProxyError extends Error {
  readonly reason: FailureReason;

  constructor(reason: FailureReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

type Target = {
  /** Checked addresses, tried in this order, or the name that the proxy resolves. */
  readonly hosts: readonly string[];
  readonly port: number;
  readonly signal: AbortSignal;
};

type OneTarget = { readonly host: string; readonly port: number; readonly signal: AbortSignal };

/** Milliseconds for each of several addresses; the last one may use the remaining time. */
const ADDRESS_MS = 2_000;
const MAX_HEADER_BYTES = 16_384;

/**
 * Opens a connection to the first reachable host. Rejects with an error that has a code of Node.js, or with a
 * ProxyError.
 */
export async function dial(
  route: EgressRoute,
  { hosts, port, signal }: Target,
): Promise<{ socket: Socket; host: string }> {
  const usable = route.proxy === undefined ? hosts.filter((host) => hasSource(route, isIP(host))) : hosts;
  let failure: unknown = Object.assign(new Error('no source address of its family'), { code: 'EADDRNOTAVAIL' });
  for (const [index, host] of usable.entries()) {
    const isLast = index === usable.length - 1;
    const limit = isLast ? { signal, clear: () => undefined } : limitSignal(signal, ADDRESS_MS);
    try {
      return { socket: await dialOne(route, { host, port, signal: limit.signal }), host };
    } catch (error) {
      failure = error;
      // The proxy itself failed, so another address of the target would fail, too.
      if (signal.aborted || (error instanceof ProxyError && error.reason === 'PROXY_FAILURE')) break;
    } finally {
      limit.clear();
    }
  }
  throw failure;
}

function dialOne(route: EgressRoute, target: OneTarget): Promise<Socket> {
  if (route.proxy === undefined) return open({ ...target, ...sourceOf(route, target.host) });
  return route.proxy.protocol === 'socks5'
    ? dialBySocks(route, route.proxy, target)
    : dialByConnect(route, route.proxy, target);
}

function hasSource({ sourceAddresses = [] }: EgressRoute, family: number): boolean {
  return sourceAddresses.length === 0 || sourceAddresses.some((address) => isIP(address) === family);
}

/** The source address for a connection to this host. For a name, the system looks up only addresses of the same family. */
function sourceOf({ sourceAddresses = [] }: EgressRoute, host: string): { localAddress?: string; family?: number } {
  const family = isIP(host);
  const source = sourceAddresses.find((address) => family === 0 || isIP(address) === family);
  return source === undefined ? {} : { localAddress: source, family: isIP(source) };
}

/**
 * Destroys a socket or request if the signal aborts before `opened` settles. The option `signal` of Node.js would also
 * destroy the socket afterwards, while it is in use.
 */
async function abortable<T>(
  signal: AbortSignal,
  { opening, opened }: { readonly opening: Socket | http.ClientRequest; readonly opened: Promise<T> },
): Promise<T> {
  const abort = () => {
    opening.destroy(new Error('aborted', { cause: signal.reason }));
  };
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  try {
    return await opened;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function open({ signal, ...options }: TcpNetConnectOpts & { readonly signal: AbortSignal }): Promise<Socket> {
  const socket = connect(options);
  const opened = new Promise<Socket>((resolve, reject) => {
    // Stays for the lifetime of the socket: an error between two owners would otherwise end the process.
    socket.on('error', reject);
    socket.once('connect', () => {
      resolve(socket);
    });
  });
  return abortable(signal, { opening: socket, opened });
}

/** Connects through an HTTP proxy with CONNECT (RFC 9110, 9.3.6). */
function dialByConnect(route: EgressRoute, proxy: EgressProxy, { host, port, signal }: OneTarget): Promise<Socket> {
  const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const { username, password } = proxy;
  const credentials = Buffer.from(`${username}:${password}`).toString('base64');
  const request = (proxy.protocol === 'https' ? https : http).request({
    method: 'CONNECT',
    host: proxy.host,
    port: proxy.port,
    path: authority,
    headers: { host: authority, ...(username !== '' && { 'proxy-authorization': `Basic ${credentials}` }) },
    agent: false,
    maxHeaderSize: MAX_HEADER_BYTES,
    ...sourceOf(route, proxy.host),
  });
  const opened = new Promise<Socket>((resolve, reject) => {
    // Node.js emits `connect` for every status.
    request.once('connect', (response, socket: Socket, head: Buffer) => {
      const status = response.statusCode ?? 0;
      const isOpen = status >= 200 && status < 300;
      // A receiver sends nothing before the request, and TLS would not receive these bytes.
      if (isOpen && head.length === 0) {
        socket.on('error', () => undefined);
        resolve(socket);
      } else {
        socket.destroy();
        reject(isOpen ? proxyFailure('sent data before the request') : refusedByProxy(status));
      }
    });
    request.on('error', () => {
      reject(proxyFailure('cannot be reached'));
    });
    request.end();
  });
  return abortable(signal, { opening: request, opened });
}

/** Connects through a SOCKS5 proxy (RFC 1928 and RFC 1929). */
async function dialBySocks(route: EgressRoute, proxy: EgressProxy, { host, port, signal }: OneTarget): Promise<Socket> {
  const address = { host: proxy.host, port: proxy.port, signal, ...sourceOf(route, proxy.host) };
  const socket = await open(address).catch(() => {
    throw proxyFailure('cannot be reached');
  });
  const opened = SocksClient.createConnection({
    command: 'connect',
    destination: { host, port },
    proxy: {
      host: proxy.host,
      port: proxy.port,
      type: 5,
      ...(proxy.username !== '' && { userId: proxy.username, password: proxy.password }),
    },
    existing_socket: socket,
  });
  try {
    await abortable(signal, { opening: socket, opened });
    return socket;
  } catch (error) {
    socket.destroy();
    // Without `cause`, because the error contains the credentials of the proxy.
    throw socksFailure(error instanceof Error ? error.message : '');
  }
}

/** Classifies the status of a proxy's answer: some report a target that the proxy cannot reach. */
function refusedByProxy(status: number): ProxyError {
  if (status === 502 || status === 503) return unreachable(`status ${status}`);
  if (status === 504) return new ProxyError('TIMEOUT', 'the forward proxy could not connect to the host in time');
  return proxyFailure(`refused the connection with status ${status}`);
}

/** The library gives the reply of the proxy only at the end of its message. */
function socksFailure(message: string): ProxyError {
  const [, reply = ''] = / - (\w+)$/.exec(message) ?? [];
  if (reply === 'ConnectionRefused') return new ProxyError('CONNECTION_REFUSED', 'the connection was refused');
  if (reply === 'TTLExpired')
    return new ProxyError('TIMEOUT', 'the forward proxy could not connect to the host in time');
  if (reply === 'NetworkUnreachable' || reply === 'HostUnreachable') return unreachable(reply);
  return proxyFailure(reply === '' ? 'did not open the connection' : `refused the connection (${reply})`);
}

function unreachable(detail: string): ProxyError {
  return new ProxyError('UNREACHABLE', `the forward proxy could not connect to the host (${detail})`);
}

function proxyFailure(what: string): ProxyError {
  return new ProxyError('PROXY_FAILURE', `the forward proxy ${what}`);
}
