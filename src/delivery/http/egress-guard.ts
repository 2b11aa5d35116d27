import type { LookupAddress, LookupOptions } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { isAllowedAddress, isLoopbackAddress } from './address-rule.ts';
import { BlockedTargetError, type EgressPolicy } from './egress-policy.ts';
import { isAllowedPort } from './port-rule.ts';
import type { Resolver } from './resolver.ts';
import { isLocalhostName } from './target-url.ts';

const LOCALHOST_ADDRESSES = ['127.0.0.1', '::1'];
/** Of one name; all are checked, the rest is not tried. */
const MAX_ADDRESSES = 8;

/** As Node hands it to `createConnection`. */
type Target = {
  readonly host?: string | null | undefined;
  readonly port?: number | string | null | undefined;
};

/** What every connection to a target has to pass. */
export type Guard = {
  /** Why this may not be connected to; undefined for a name, which only the lookup can judge, on an allowed port. */
  readonly refuse: (target: Target) => BlockedTargetError | undefined;
  readonly lookup: LookupFunction;
};

/** `protocol`: with http: the policy's allowHttp holds as well. */
export function createGuard(resolver: Resolver, policy: EgressPolicy, protocol: 'http:' | 'https:'): Guard {
  function isAllowed(address: string): boolean {
    return (protocol === 'https:' || isHttpAllowed(address, policy)) && isAllowedAddress(address, policy);
  }

  async function findAddresses(name: string): Promise<readonly string[]> {
    const isLocalhost = isLocalhostName(name);
    const answers = isLocalhost ? LOCALHOST_ADDRESSES.filter(isAllowed) : await resolver.resolve(name);
    // One bad answer condemns all: a name that also points inside is an attack or a mistake, never a receiver.
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

/** As dns.lookup does: a list with `all`, else the first; only the family that was asked for. */
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
