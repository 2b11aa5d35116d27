import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { InputError } from '../../lib/errors.ts';
import type { EgressRoute } from './dial.ts';

/** Allowed targets besides the public internet. Empty `allowCidrs` and `allowHttp: 'never'` are the strictest. */
export type EgressPolicy = EgressRoute & {
  /** Ranges that are allowed although they are not public. A metadata service needs an exact /32 or /128. */
  readonly allowCidrs: readonly string[];
  /** `loopback`: http:// only to this machine, and only if allowCidrs allows that. */
  readonly allowHttp: 'always' | 'loopback' | 'never';
  /** Ports that no target may use. */
  readonly denyPorts: ReadonlySet<number>;
  /** Name servers, `address` or `address:port`; by default the machine's own. */
  readonly dnsServers?: readonly string[] | undefined;
  /** The proxy receives names and resolves them; the engine checks only literal addresses. */
  readonly proxyResolves?: boolean | undefined;
};

/** A connection refused before any packet was sent. The message contains no address: customers may read it. */
export class BlockedTargetError extends Error {
  readonly code = 'ERR_BLOCKED_TARGET';
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * Whether a delivery may connect to this address: public unicast always, anything else only if `allowCidrs` has it.
 *
 * ipaddr.js 2.5 reports `unicast` for some addresses that no public host has: all IPv6 that IANA has not allocated, and
 * 168.63.129.16 (Azure's host, in public space). So IPv6 must lie in 2000::/3, the only allocated space, and metadata
 * services are listed.
 */
export function isAllowedAddress(address: string, policy: Pick<EgressPolicy, 'allowCidrs'>): boolean {
  const parsed = parseAddress(address);
  return parsed !== undefined && isAllowed(parsed, policy.allowCidrs.map(parseRange));
}

export function isLoopbackAddress(address: string): boolean {
  return parseAddress(address)?.range() === 'loopback';
}

/**
 * Parses strictly (ipaddr.js alone accepts 0177.0.0.1 and 127.1). Mapped IPv4 becomes IPv4. An address with a zone id
 * is invalid, because no public host has one.
 */
function parseAddress(address: string): Address | undefined {
  const version = isIP(address);
  if (version === 0 || address.includes('%')) return undefined;
  // ipaddr.js confuses ::127.0.0.1 with ::ffff:127.0.0.1; the URL parser writes both in hexadecimal.
  return ipaddr.process(version === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address);
}

const NAT64: Range = [ipaddr.IPv6.parse('64:ff9b::'), 96];
/** The prefix of RFC 8215. Assumes that a gateway's own prefix is the usual /96. */
const LOCAL_NAT64: Range = [ipaddr.IPv6.parse('64:ff9b:1::'), 48];
const IPV4_COMPATIBLE: Range = [ipaddr.IPv6.parse('::'), 96];
const GLOBAL_UNICAST: Range = [ipaddr.IPv6.parse('2000::'), 3];

/**
 * Addresses of metadata services. They return credentials to every client, so a wide allowed range must not open them
 * by accident.
 */
const METADATA_SERVICES: ReadonlySet<string> = new Set(
  [
    '169.254.169.254', // AWS, Azure, Google, DigitalOcean, …
    'fd00:ec2::254', // AWS
    'fd20:ce::254', // Google
    '169.254.170.2', // AWS ECS
    '169.254.170.23', // AWS EKS
    'fd00:ec2::23', // AWS EKS
    '168.63.129.16', // Azure's host
    '100.100.100.200', // Alibaba
    '192.0.0.192', // Oracle
    '169.254.42.42', // Scaleway
    'fd00:42::42', // Scaleway
  ].map((address) => ipaddr.parse(address).toString()),
);

function isAllowed(address: Address, allowed: readonly Range[]): boolean {
  const exact = allowed.some((range) => isExact(range) && isInside(address, range));
  if (exact) return true;
  // A NAT64 gateway forwards to the embedded IPv4 address: on IPv6-only hosts every IPv4 receiver has such an address.
  if (isInside(address, NAT64)) return isAllowed(ipv4At(address, 12), allowed);
  const carried = carriedIpv4(address);
  // Any address that ends in the address of a metadata service is blocked: it may be a translation of it.
  if ([address, ...carried, ...lastBytes(address)].some((one) => METADATA_SERVICES.has(one.toString()))) return false;
  // An operator that allows a tunnel or translator to IPv4 does not thereby allow every IPv4 address behind it.
  if (allowed.some((range) => isInside(address, range))) return carried.every((one) => isAllowed(one, allowed));
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv4' || (isInside(address, GLOBAL_UNICAST) && !isIsatap(address));
}

type Range = readonly [address: Address, prefixLength: number];

/** A range in mapped form (::ffff:10.0.0.0/104) means the IPv4 range. */
function parseRange(cidr: string): Range {
  const [address, prefixLength] = ipaddr.parseCIDR(cidr);
  if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && prefixLength >= 96) {
    return [address.toIPv4Address(), prefixLength - 96];
  }
  return [address, prefixLength];
}

function isExact([address, prefixLength]: Range): boolean {
  return prefixLength === (address.kind() === 'ipv4' ? 32 : 128);
}

function isInside(address: Address, [start, prefixLength]: Range): boolean {
  return address.kind() === start.kind() && address.match(start, prefixLength);
}

/** RFC 5214: interface ids 0000:5efe and 0200:5efe carry an IPv4 address. */
function isIsatap(address: Address): boolean {
  const [, , , , , , , , a, b, c, d] = address.toByteArray();
  return (a === 0 || a === 2) && b === 0 && c === 0x5e && d === 0xfe;
}

/** The IPv4 address, if any, to which a tunnel or translator forwards packets for an IPv6 address. */
function carriedIpv4(address: Address): ipaddr.IPv4[] {
  if (address.kind() === 'ipv4') return [];
  const range = address.range();
  if (range === '6to4') return [ipv4At(address, 2)];
  // RFC 4380: the bits of the address are inverted.
  if (range === 'teredo') return [new ipaddr.IPv4(bytesAt(address, 12).map((byte) => byte ^ 0xff))];
  const isCompatible = isInside(address, IPV4_COMPATIBLE) && range !== 'loopback';
  const carries = isCompatible || range === 'rfc6145' || isInside(address, LOCAL_NAT64) || isIsatap(address);
  return carries ? [ipv4At(address, 12)] : [];
}

function lastBytes(address: Address): ipaddr.IPv4[] {
  return address.kind() === 'ipv4' ? [] : [ipv4At(address, 12)];
}

function ipv4At(address: Address, offset: number): ipaddr.IPv4 {
  return new ipaddr.IPv4(bytesAt(address, offset));
}

function bytesAt(address: Address, offset: number): number[] {
  return address.toByteArray().slice(offset, offset + 4);
}

/**
 * Ports of services that may interpret an HTTP request as commands of their own, or that no webhook receiver uses: such a
 * target is an attack. Most are the Fetch standard's bad ports; databases, brokers and orchestrators are added, for
 * installations that allow private ranges. None is in the ephemeral range of operating systems (from 32768).
 */
export const DEFAULT_DENY_PORTS = [
  '1,7,9,11,13,15,17-23,25,37,42,43,53,69,77,79,87,95', // echo, FTP, SSH, Telnet, SMTP, DNS, finger, …
  '101-104,109-111,113,115,117,119,123,135-139,143,161,162,179', // POP, ident, NNTP, NTP, RPC, NetBIOS, IMAP, SNMP, BGP
  '389,427,445,465,512-515,526,530-532,540,548,554,556,563,587', // LDAP, SMB, mail, rlogin, printers, RTSP
  '601,636,873,989,990,993,995', // syslog, LDAP, rsync, FTP and mail over TLS
  '1433,1434,1521,1719,1720,1723,1883,2049,2181', // SQL Server, Oracle, H.323, PPTP, MQTT, NFS, ZooKeeper
  '2375-2377,2379,2380,3306,3389,3659,4045,4190,4222', // Docker, etcd, MySQL, RDP, sieve, NATS
  '5060,5061,5432,5433,5671,5672,5900-5903,5984', // SIP, Postgres, AMQP, VNC, CouchDB
  '6000-6063,6379,6380,6566,6665-6669,6679,6697', // X11, Redis, IRC
  '9042,9092,9200,9300,10080,10250,11211,27017-27019', // Cassandra, Kafka, Elasticsearch, kubelet, memcached, MongoDB
].join(',');

export const MAX_PORT = 65_535;

/** Whether a target may use this port: from 1 to 65535, and not denied. */
export function isAllowedPort(port: number, { denyPorts }: Pick<EgressPolicy, 'denyPorts'>): boolean {
  return Number.isInteger(port) && port >= 1 && port <= MAX_PORT && !denyPorts.has(port);
}

/** The URL cannot be a webhook subscription's target; the message says why. */
export class TargetRejectedError extends InputError {
  readonly code = 'TARGET_REJECTED';
}

const MAX_URL_LENGTH = 2_048;
const MAX_NAME_LENGTH = 253;
/** A label of a DNS name. RFC 952 excludes underscores from host names, but they resolve and are in use. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/**
 * Last labels that do not exist in the public DNS: those of private networks, `test` and `local` (RFC 6761, RFC 6762,
 * ICANN's .internal), and `arpa`, which contains the infrastructure of DNS and `home.arpa` (RFC 8375). `example` is not
 * among them: by RFC 6761 programs should not treat it as special.
 */
const PRIVATE_NAME = /(?:^|\.)(?:local|localdomain|internal|intranet|private|corp|home|mail|lan|test|arpa)$/;
/** Names that must not be looked up in the DNS (RFC 6761, RFC 7686, RFC 9476). */
const NOT_IN_DNS = /(?:^|\.)(?:invalid|onion|alt)$/;
/** Names of metadata services, which return credentials; most of them are also under .internal. */
const METADATA_NAME =
  /^(?:metadata|instance-data|metadata\.goog|(?:.+\.)?metadata\.google\.internal|instance-data\.ec2\.internal|metadata\.azure\.(?:com|internal)|metadata\.(?:packet\.net|platformequinix\.com|tencentyun\.com|oraclecloud\.com))$/;

/**
 * Checks a target URL as far as that is possible without the network. Store `href` of the result and deliver to that: the
 * text may be spelled so that another parser reads another host. EgressAgents resolve names and check their addresses at
 * every connection.
 */
export function checkTargetUrl(text: string, policy: EgressPolicy): URL {
  if (text.length > MAX_URL_LENGTH) reject(`the URL has more than ${MAX_URL_LENGTH} characters`);
  if (!URL.canParse(text)) reject('the URL is not valid: it must look like https://example.com/path');
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') rejectScheme(policy);
  if (url.username !== '' || url.password !== '') {
    reject('the URL must not contain a user name or password; use a custom authorization header');
  }
  checkPort(url, policy);
  // The dot of a fully qualified name belongs neither in the Host header nor in the name of a certificate.
  if (/[^.]\.$/.test(url.hostname)) url.hostname = url.hostname.slice(0, -1);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0) checkAddress(host, policy);
  else checkName(host, policy);
  if (url.protocol === 'http:' && !isHttpAllowed(host, policy)) rejectScheme(policy);
  url.hash = '';
  // Percent-encoding can lengthen it.
  if (url.href.length > MAX_URL_LENGTH) reject(`the URL has more than ${MAX_URL_LENGTH} characters`);
  return url;
}

/** The addresses of localhost names, which are not looked up. */
export const LOCALHOST_ADDRESSES: readonly string[] = ['127.0.0.1', '::1'];

/** RFC 6761: these names mean this machine, without a lookup. */
export function isLocalhostName(host: string): boolean {
  return /^(?:.+\.)?localhost\.?$/i.test(host);
}

function checkPort({ protocol, port }: URL, policy: EgressPolicy): void {
  if (port === '0') reject('the port must be from 1 to 65535');
  const number = Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port);
  if (!isAllowedPort(number, policy)) reject(`the port ${number} is not allowed for webhooks`);
}

function checkAddress(address: string, policy: EgressPolicy): void {
  if (!isAllowedAddress(address, policy)) reject(`the address ${address} is not reachable from the internet`);
}

function checkName(name: string, policy: EgressPolicy): void {
  if (name.length > MAX_NAME_LENGTH || !name.split('.').every((label) => LABEL.test(label))) {
    reject('the host is not a valid name: labels of letters, digits and hyphens, separated by single dots');
  }
  if (isLocalhostName(name)) {
    if (!isLoopbackAllowed(policy)) reject(`the host ${name} is not reachable from the internet`);
    return;
  }
  const isPrivate = !name.includes('.') || PRIVATE_NAME.test(name);
  const isRefused =
    NOT_IN_DNS.test(name) ||
    (METADATA_NAME.test(name) && !isMetadataAllowed(policy)) ||
    (isPrivate && !hasPrivateNetwork(policy));
  if (isRefused) reject(`the host ${name} is not reachable from the internet`);
}

/** An operator that allows private ranges also uses private names. Their addresses are checked at every connection. */
function hasPrivateNetwork({ allowCidrs }: EgressPolicy): boolean {
  return allowCidrs.some((cidr) => !isLoopbackAddress(cidr.split('/', 1)[0] ?? ''));
}

/** The name of a metadata service is allowed if one of the exact addresses is. */
function isMetadataAllowed(policy: EgressPolicy): boolean {
  return ['169.254.169.254', 'fd00:ec2::254', 'fd20:ce::254', '100.100.100.200', '192.0.0.192'].some((address) =>
    isAllowedAddress(address, policy),
  );
}

function isLoopbackAllowed(policy: EgressPolicy): boolean {
  return ['127.0.0.1', '::1'].some((address) => isAllowedAddress(address, policy));
}

function isHttpAllowed(host: string, policy: EgressPolicy): boolean {
  if (policy.allowHttp === 'loopback') return isLocalhostName(host) || isLoopbackAddress(host);
  return policy.allowHttp === 'always';
}

function rejectScheme(policy: EgressPolicy): never {
  const exceptions = { always: ' or http://', loopback: ', or http:// to localhost', never: '' };
  return reject(`the URL must start with https://${exceptions[policy.allowHttp]}`);
}

function reject(message: string): never {
  throw new TargetRejectedError([{ path: 'url', message, code: 'TARGET_REJECTED' }]);
}
