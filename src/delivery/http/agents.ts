import type { LookupAddress, LookupOptions } from 'node:dns';
import http, { type ClientRequestArgs } from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { isIP, type LookupFunction, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  BlockedTargetError,
  type EgressPolicy,
  isAllowedAddress,
  isAllowedPort,
  isLocalhostName,
  isLoopbackAddress,
} from './egress-policy.ts';
import { Resolver } from './resolver.ts';

/** At least the attempts in flight per process: a request that waits for a socket would time out unsent. */
const MAX_SOCKETS_PER_HOST = 1_000;
const MAX_FREE_SOCKETS_PER_HOST = 16;
/** Milliseconds until a free socket closes; `Keep-Alive: timeout=` of the receiver shortens it. */
const IDLE_SOCKET_MS = 30_000;
/** Maximum age of a socket, and so the longest time for which a change in DNS has no effect. */
const MAX_SOCKET_AGE_MS = 5 * 60_000;
/** Milliseconds for connecting to one of several addresses. Node's 250 ms times out for distant receivers. */
export const ADDRESS_TRY_MS = 500;

export type AgentPair = { readonly http: http.Agent; readonly https: https.Agent };

/**
 * The only way to connect to targets. Every connection is checked in `createConnection`, the one place that sees both
 * literal hosts (without a lookup) and the addresses that are connected to (a name may resolve differently each time).
 * Deliveries have agents of their own, because a pool does not know which code opened a socket.
 */
export class EgressAgents {
  /** Keep connections alive between attempts. */
  readonly pooled: AgentPair;
  /** A new connection for every request, under the same guard. */
  readonly fresh: AgentPair;
  readonly #resolver: Resolver;

  constructor(policy: EgressPolicy, { maxSocketAgeMs = MAX_SOCKET_AGE_MS }: { readonly maxSocketAgeMs?: number } = {}) {
    this.#resolver = new Resolver(policy.dnsServers);
    const guards = {
      http: createGuard(this.#resolver, policy, 'http:'),
      https: createGuard(this.#resolver, policy, 'https:'),
    };
    this.pooled = createAgents(guards, { ...AGENT_OPTIONS, keepAlive: true });
    this.fresh = createAgents(guards, { ...AGENT_OPTIONS, keepAlive: false });
    limitSocketAge(this.pooled.http, maxSocketAgeMs);
    limitSocketAge(this.pooled.https, maxSocketAgeMs);
  }

  /** Ends every connection, in use or not, and every lookup. */
  close(): void {
    for (const agent of [this.pooled.http, this.pooled.https, this.fresh.http, this.fresh.https]) agent.destroy();
    this.#resolver.close();
  }
}

const AGENT_OPTIONS = {
  maxSockets: MAX_SOCKETS_PER_HOST,
  maxFreeSockets: MAX_FREE_SOCKETS_PER_HOST,
  timeout: IDLE_SOCKET_MS,
} as const;

function createAgents(guards: { readonly http: Guard; readonly https: Guard }, options: http.AgentOptions): AgentPair {
  return { http: new GuardedHttpAgent(guards.http, options), https: new GuardedHttpsAgent(guards.https, options) };
}

class GuardedHttpAgent extends http.Agent {
  readonly #guard: Guard;

  constructor(guard: Guard, options: http.AgentOptions) {
    super(options);
    this.#guard = guard;
  }

  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    const refusal = this.#guard.refuse(options);
    if (refusal !== undefined) return refusedSocket(refusal);
    return super.createConnection(guarded(options, this.#guard), callback);
  }
}

class GuardedHttpsAgent extends https.Agent {
  readonly #guard: Guard;

  constructor(guard: Guard, options: https.AgentOptions) {
    super(options);
    this.#guard = guard;
  }

  override createConnection(
    options: RequestOptions,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    const refusal = this.#guard.refuse(options);
    if (refusal !== undefined) return refusedSocket(refusal);
    return super.createConnection(guarded(options, this.#guard), callback);
  }
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

const LOCALHOST_ADDRESSES = ['127.0.0.1', '::1'];
/** Maximum addresses of a name that are tried; all are checked. */
const MAX_ADDRESSES = 8;

/** The options that Node passes to `createConnection`. */
type Target = {
  readonly host?: string | null | undefined;
  readonly port?: number | string | null | undefined;
};

/** Checks every connection to a target. */
type Guard = {
  /** The error if the target is not allowed; undefined for a name on an allowed port, which the lookup checks. */
  readonly refuse: (target: Target) => BlockedTargetError | undefined;
  readonly lookup: LookupFunction;
};

/** For `http:`, the policy's allowHttp applies too. */
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
  return {
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
