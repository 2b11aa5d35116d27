import { isIP } from 'node:net';
import type { EgressProxy } from '../delivery/http/dial.ts';
import { DEFAULT_DENY_PORTS, MAX_PORT } from '../delivery/http/egress-policy.ts';
import { splitList } from '../lib/text.ts';
import { parseBoolean, parseUrl } from './parsers.ts';
import { variable } from './table.ts';

/** The variables of the requests that senders make. */
export const EGRESS = {
  allowCidrs: variable('EGRESS_ALLOW_CIDRS', {
    parse: parseCidrs,
    shownDefault: 'empty',
    canBeEmpty: true,
    fallback: ({ isEmbedded }) => (isEmbedded ? ['127.0.0.0/8', '::1/128'] : []),
    meaning:
      'Private address ranges that targets may use, comma-separated. With the embedded Postgres the default is `127.0.0.0/8,::1/128`; a value, even an empty one, replaces the default.',
  }),
  allowHttp: variable('EGRESS_ALLOW_HTTP', {
    parse: parseAllowHttp,
    shownDefault: '`false`',
    fallback: ({ isEmbedded }) => (isEmbedded ? 'loopback' : 'never'),
    meaning:
      '`true` allows `http://` to every permitted address; otherwise only `https://`. Unset with the embedded Postgres: `http://` to loopback is allowed.',
  }),
  denyPorts: variable('EGRESS_DENY_PORTS', {
    parse: parsePorts,
    default: DEFAULT_DENY_PORTS,
    canBeEmpty: true,
    meaning:
      'Ports that no target may use, comma-separated, with ranges such as `6000-6063`. The default contains the ports of other protocols. A value replaces the default; an empty value allows every port.',
  }),
  dnsServers: variable('EGRESS_DNS_SERVERS', {
    parse: parseDnsServers,
    shownDefault: "the machine's",
    meaning: 'Name servers that resolve targets, comma-separated `address` or `address:port`.',
  }),
  proxy: variable('EGRESS_PROXY', {
    parse: parseProxy,
    isSecret: true,
    meaning:
      'A [forward proxy](deployment.md#egress-through-a-proxy) for all webhooks: `http://user:password@proxy:3128` or `https://…` (by `CONNECT`), or `socks5://…`. The proxy receives the IP address that the engine has checked.',
  }),
  proxyResolves: variable('EGRESS_PROXY_RESOLVES', {
    parse: parseBoolean,
    default: 'false',
    meaning:
      '`true`: `EGRESS_PROXY` receives the host names of targets and resolves them. The rules about addresses then apply only to targets that are written as addresses: the proxy must reject private addresses.',
  }),
  sourceAddresses: variable('EGRESS_SOURCE_ADDRESS', {
    parse: parseSourceAddresses,
    fallback: () => [],
    meaning:
      'The local address from which webhooks are sent (with `EGRESS_PROXY`: from which the proxy is reached): an IPv4 address, an IPv6 address, or one of each. Targets of the other address family are unreachable.',
  }),
};

function parseCidrs(text: string): string[] {
  for (const cidr of splitList(text)) {
    if (!isCidr(cidr)) throw new Error(`has ${JSON.stringify(cidr)}, which is not a CIDR range such as 10.0.0.0/8`);
  }
  return splitList(text);
}

function isCidr(text: string): boolean {
  const [, address = '', bits] = /^(.+)\/(\d{1,3})$/.exec(text) ?? [];
  const version = isIP(address);
  return version !== 0 && Number(bits) <= (version === 4 ? 32 : 128);
}

function parsePorts(text: string): Set<number> {
  const bad = splitList(text).filter((item) => portsOf(item).length === 0);
  if (bad.length > 0) {
    throw new Error(`has ${bad.map((item) => JSON.stringify(item)).join(', ')}, not a port or range such as 6000-6063`);
  }
  return new Set(splitList(text).flatMap(portsOf));
}

/** The ports of one item; an empty list if the item is neither a port nor a range. */
function portsOf(item: string): number[] {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(item) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (!(from >= 1 && from <= to && to <= MAX_PORT)) return [];
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function parseAllowHttp(text: string): 'always' | 'never' {
  return parseBoolean(text) ? 'always' : 'never';
}

function parseDnsServers(text: string): string[] {
  for (const server of splitList(text)) {
    const address = /^\[(.+)\](?::\d+)?$/.exec(server)?.[1] ?? /^([^:]+):\d+$/.exec(server)?.[1] ?? server;
    if (isIP(address) === 0) throw new Error(`has ${JSON.stringify(server)}, which is not an address or address:port`);
  }
  return splitList(text);
}

const PROXY_PORTS: Readonly<Record<EgressProxy['protocol'], number>> = { http: 80, https: 443, socks5: 1080 };

/** The error message never contains the value. */
function parseProxy(text: string): EgressProxy {
  const url = new URL(parseUrl(text, ['http:', 'https:', 'socks5:']));
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '') {
    throw new Error('must be a URL of scheme, user, password, host and port only');
  }
  // `as`: one of the three protocols above.
  const protocol = url.protocol.slice(0, -1) as EgressProxy['protocol'];
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? PROXY_PORTS[protocol] : Number(url.port);
  try {
    const [username, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
    return { protocol, host, port, username, password };
  } catch {
    throw new Error('has a user or password that is not percent-encoded');
  }
}

/** Local addresses, at most one of each address family. */
function parseSourceAddresses(text: string): string[] {
  const addresses = splitList(text);
  const families = addresses.map((address) => isIP(address));
  if (families.includes(0) || new Set(families).size < families.length) {
    throw new Error('must be an IPv4 address, an IPv6 address, or one of each, separated by a comma');
  }
  return addresses;
}
