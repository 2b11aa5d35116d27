import type { LookupAddress, LookupOptions } from 'node:dns';
import http, { type ClientRequestArgs } from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { isIP, type LookupFunction, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { dial, type EgressRoute } from './dial.ts';
import {
  BlockedTargetError,
  type EgressPolicy,
  isAllowedAddress,
  isAllowedPort,
  isLocalhostName,
  isLoopbackAddress,
  LOCALHOST_ADDRESSES,
} from './egress-policy.ts';
import { Resolver } from './resolver.ts';

/**
 * Maximum connections per host. Not less than the attempts in flight per process: a request that waits for a socket
 * would time out unsent.
 */
const MAX_SOCKETS_PER_HOST = 1_000;
const MAX_FREE_SOCKETS_PER_HOST = 16;
/** Maximum free sockets to all hosts. A free socket with TLS takes 130 KB (measured). */
const MAX_FREE_SOCKETS = 1_000;
/** Milliseconds until a free socket closes; `Keep-Alive: timeout=` of the receiver shortens it. */
const IDLE_SOCKET_MS = 30_000;
/** Milliseconds. Maximum age of a socket, and so the longest time for which a change in DNS has no effect. */
const MAX_SOCKET_AGE_MS = 5 * 60_000;
/** Milliseconds for connecting to one of several addresses. Node's 250 ms times out for distant receivers. */
export const ADDRESS_TRY_MS = 500;

/** Milliseconds: for requests without a `dialMs`. */
const MAX_DIAL_MS = 30_000;

type SocketLimits = { readonly maxSocketAgeMs: number; readonly maxFreeSockets: number };

export type AgentPair = { readonly http: http.Agent; readonly https: https.Agent };

/**
 * The only way to connect to targets. Every connection is checked in `createConnection`, the one place that sees both
 * literal hosts (without a lookup) and the addresses that are connected to (a name may resolve differently each time).
 * Deliveries have agents of their own, because a pool does not know which code opened a socket.
 */
export class EgressAgents {
  /** Keeps connections open between attempts. */
  readonly pooled: AgentPair;
  /** Opens a new connection for every request, with the same guard. */
  readonly fresh: AgentPair;
  readonly #resolver: Resolver;
  readonly #dialing = new Set<AbortController>();

  constructor(
    policy: EgressPolicy,
    { maxSocketAgeMs = MAX_SOCKET_AGE_MS, maxFreeSockets = MAX_FREE_SOCKETS }: Partial<SocketLimits> = {},
  ) {
    this.#resolver = new Resolver(policy.dnsServers);
    const guards = {
      http: createGuard(this.#resolver, policy, 'http:'),
      https: createGuard(this.#resolver, policy, 'https:'),
    };
    const isRouted = policy.proxy !== undefined || (policy.sourceAddresses ?? []).length > 0;
    const withDialer = (guard: Guard): Guarded => ({
      guard,
      dialer: isRouted ? this.#createDialer(policy, guard) : undefined,
    });
    const createPair = (options: http.AgentOptions): AgentPair => ({
      http: new GuardedHttpAgent(withDialer(guards.http), options),
      https: new GuardedHttpsAgent(withDialer(guards.https), options),
    });
    this.pooled = createPair({ ...AGENT_OPTIONS, keepAlive: true });
    this.fresh = createPair({ ...AGENT_OPTIONS, keepAlive: false });
    const free = new FreeSockets(maxFreeSockets);
    for (const agent of [this.pooled.http, this.pooled.https]) {
      limitSocketAge(agent, maxSocketAgeMs);
      countFreeSockets(agent, free);
    }
  }

  /** Ends every connection, in use or not, and every lookup. */
  close(): void {
    for (const dialing of this.#dialing) dialing.abort();
    for (const agent of [this.pooled.http, this.pooled.https, this.fresh.http, this.fresh.https]) agent.destroy();
    this.#resolver.close();
  }

  /** Creates a dialer that opens connections along the route, to hosts that the guard returned. */
  #createDialer(route: EgressRoute, guard: Guard): Dialer {
    return async ({ host, port, dialMs = MAX_DIAL_MS }) => {
      const dialing = new AbortController();
      this.#dialing.add(dialing);
      const timer = setTimeout(() => {
        dialing.abort();
      }, dialMs);
      try {
        const hosts = await guard.findHosts(String(host));
        const { socket, host: dialed } = await dial(route, { hosts, port: Number(port), signal: dialing.signal });
        if (route.proxy !== undefined) proxied.set(socket, isIP(dialed) === 0 ? undefined : dialed);
        return socket;
      } finally {
        clearTimeout(timer);
        this.#dialing.delete(dialing);
      }
    };
  }
}

const AGENT_OPTIONS = {
  maxSockets: MAX_SOCKETS_PER_HOST,
  maxFreeSockets: MAX_FREE_SOCKETS_PER_HOST,
  timeout: IDLE_SOCKET_MS,
} as const;

/** Opens a connection to a target that the guard has not refused. Undefined: Node.js opens connections itself. */
type Dialer = (target: Target) => Promise<Socket>;
type Guarded = { readonly guard: Guard; readonly dialer: Dialer | undefined };
type OnConnection = (error: Error | null, socket: Duplex) => void;

class GuardedHttpAgent extends http.Agent {
  readonly #guarded: Guarded;

  constructor(guarded: Guarded, options: http.AgentOptions) {
    super(options);
    this.#guarded = guarded;
  }

  override createConnection(options: ClientRequestArgs, callback?: OnConnection): Duplex | null | undefined {
    const { guard, dialer } = this.#guarded;
    const refusal = guard.refuse(options);
    if (refusal !== undefined) return refusedSocket(refusal);
    if (dialer === undefined) return super.createConnection(guarded(options, guard), callback);
    dialer(options).then((socket) => callback?.(null, socket), failed(callback));
    return undefined;
  }
}

class GuardedHttpsAgent extends https.Agent {
  readonly #guarded: Guarded;

  constructor(guarded: Guarded, options: https.AgentOptions) {
    super(options);
    this.#guarded = guarded;
  }

  override createConnection(options: RequestOptions, callback?: OnConnection): Duplex | null | undefined {
    const { guard, dialer } = this.#guarded;
    const refusal = guard.refuse(options);
    if (refusal !== undefined) return refusedSocket(refusal);
    if (dialer === undefined) return super.createConnection(guarded(options, guard), callback);
    dialer(options)
      .then((socket) => this.#secure(options, socket))
      .then((socket) => callback?.(null, socket), failed(callback));
    return undefined;
  }

  /** Starts TLS with the name of the target, over a connection to its address or to a proxy. */
  #secure(options: RequestOptions, socket: Socket): Duplex {
    // `as`: options of tls.connect, which Node.js passes on.
    const secured = super.createConnection({ ...options, socket } as RequestOptions);
    if (!(secured instanceof Socket)) throw new Error('TLS created no socket');
    if (proxied.has(socket)) proxied.set(secured, proxied.get(socket));
    return secured;
  }
}

/** Passes the error to the callback. The type also requires a socket, which Node.js does not read after an error. */
function failed(callback: OnConnection | undefined): (error: unknown) => void {
  return (error) => {
    callback?.(error instanceof Error ? error : blocked(), new Socket());
  };
}

/** The addresses of targets behind a proxy; undefined if the proxy resolved the name. */
const proxied = new WeakMap<Duplex, string | undefined>();

/** The address of the target, never that of a proxy. */
export function remoteAddressOf(socket: Socket): string | undefined {
  return proxied.has(socket) ? proxied.get(socket) : socket.remoteAddress;
}

function guarded<T extends ClientRequestArgs>(options: T, guard: Guard): T {
  return { ...options, lookup: guard.lookup, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: ADDRESS_TRY_MS };
}

/** A socket that was never opened: the request fails with the refusal as with a refused connection. */
function refusedSocket(refusal: BlockedTargetError): Socket {
  const socket = new Socket();
  process.nextTick(() => socket.destroy(refusal));
  return socket;
}

/** Closes sockets that are too old when they become free, before the agent's own listener reuses them. */
function limitSocketAge(agent: http.Agent, maxAgeMs: number): void {
  const firstSeenAt = new WeakMap<Duplex, number>();
  agent.prependListener('free', (socket: Duplex) => {
    const seenAt = firstSeenAt.get(socket) ?? performance.now();
    firstSeenAt.set(socket, seenAt);
    if (performance.now() - seenAt >= maxAgeMs) socket.destroy();
  });
}

/** The free sockets of several agents. Beyond the maximum, the one that has been free for longest is closed. */
class FreeSockets {
  readonly #max: number;
  /** The listeners of their closing. */
  readonly #listeners = new Map<Duplex, () => void>();

  constructor(max: number) {
    this.#max = max;
  }

  add(socket: Duplex): void {
    const onClose = () => {
      this.#listeners.delete(socket);
    };
    this.#listeners.set(socket, onClose);
    socket.once('close', onClose);
    const [oldest] = this.#listeners.keys();
    if (this.#listeners.size <= this.#max || oldest === undefined) return;
    this.remove(oldest);
    oldest.destroy();
  }

  remove(socket: Duplex): void {
    const onClose = this.#listeners.get(socket);
    if (onClose === undefined) return;
    this.#listeners.delete(socket);
    socket.off('close', onClose);
  }
}

function countFreeSockets(agent: http.Agent, free: FreeSockets): void {
  // Returns whether the socket is kept, which the type omits.
  const keep: (socket: Duplex) => unknown = agent.keepSocketAlive.bind(agent);
  const reuse = agent.reuseSocket.bind(agent);
  agent.keepSocketAlive = (socket) => {
    const isKept = keep(socket);
    if (isKept === true) free.add(socket);
    return isKept;
  };
  agent.reuseSocket = (socket, request) => {
    free.remove(socket);
    reuse(socket, request);
  };
}

/** Maximum addresses of a name that are tried; all are checked. */
const MAX_ADDRESSES = 8;

/** The options that Node passes to `createConnection`. */
type Target = {
  readonly host?: string | null | undefined;
  readonly port?: number | string | null | undefined;
  /** Milliseconds for a connection through a proxy or from a fixed source address. */
  readonly dialMs?: number | undefined;
};

/** Checks every connection to a target. */
type Guard = {
  /** The error if the target is not allowed; undefined for a name on an allowed port, which the lookup checks. */
  readonly refuse: (target: Target) => BlockedTargetError | undefined;
  readonly lookup: LookupFunction;
  /**
   * The checked addresses of a host that was not refused, or its name, if the proxy resolves it. Rejects if one is not
   * allowed.
   */
  readonly findHosts: (host: string) => Promise<readonly string[]>;
};

/** Checks targets of one protocol. For `http:`, the policy's allowHttp applies, too. */
function createGuard(resolver: Resolver, policy: EgressPolicy, protocol: 'http:' | 'https:'): Guard {
  function isAllowed(address: string): boolean {
    return (protocol === 'https:' || isHttpAllowed(address, policy)) && isAllowedAddress(address, policy);
  }

  async function findAddresses(name: string): Promise<readonly string[]> {
    const isLocalhost = isLocalhostName(name);
    const answers = isLocalhost ? LOCALHOST_ADDRESSES.filter(isAllowed) : await resolver.resolve(name);
    // One blocked address blocks the name: a name that also points to a private network is an attack or a mistake.
    if (answers.length === 0 || !answers.every(isAllowed)) throw blocked();
    return answers.slice(0, MAX_ADDRESSES);
  }
  async function findHosts(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    // A proxy would resolve localhost to itself.
    if (policy.proxy === undefined || policy.proxyResolves !== true || isLocalhostName(host))
      return findAddresses(host);
    if (protocol === 'http:' && policy.allowHttp !== 'always') throw blocked();
    return [host];
  }
  return {
    findHosts,
    refuse: ({ host, port }) => {
      if (!isAllowedPort(Number(port), policy)) return new BlockedTargetError('the port of the target is not allowed');
      if (host === undefined || host === null || host === '') return blocked();
      return isIP(host) !== 0 && !isAllowed(host) ? blocked() : undefined;
    },
    lookup: (name, options, callback) => {
      findAddresses(name).then(
        (addresses) => {
          answer(addresses, options, callback);
        },
        (error: unknown) => {
          callback(error instanceof Error ? error : blocked(), '');
        },
      );
    },
  };
}

/** Calls back as dns.lookup does: a list with `all`, otherwise the first; only the requested family. */
function answer(addresses: readonly string[], options: LookupOptions, callback: Parameters<LookupFunction>[2]): void {
  const all: LookupAddress[] = addresses.map((address) => ({ address, family: isIP(address) }));
  const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : (options.family ?? 0);
  const matching = all.filter((one) => family === 0 || one.family === family);
  const [first] = matching;
  if (first === undefined) callback(blocked(), '');
  else if (options.all === true) callback(null, matching);
  else callback(null, first.address, first.family);
}

function blocked(): BlockedTargetError {
  return new BlockedTargetError('the target is not reachable from the internet');
}

function isHttpAllowed(address: string, policy: EgressPolicy): boolean {
  if (policy.allowHttp === 'loopback') return isLoopbackAddress(address);
  return policy.allowHttp === 'always';
}
