import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { EgressPolicy } from './egress-policy.ts';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * May a delivery connect to this address? Public unicast always; anything else only where `allowCidrs` opens it.
 *
 * ipaddr.js 2.5 calls some addresses `unicast` that no public host has: all IPv6 that IANA has not given out, and
 * 168.63.129.16 (Azure's host, in public space). So IPv6 must lie in 2000::/3, the only space given out, and metadata
 * services are named one by one.
 */
export function isAllowedAddress(address: string, policy: Pick<EgressPolicy, 'allowCidrs'>): boolean {
  const parsed = parseAddress(address);
  return parsed !== undefined && isAllowed(parsed, policy.allowCidrs.map(parseRange));
}

export function isLoopbackAddress(address: string): boolean {
  return parseAddress(address)?.range() === 'loopback';
}

/** Strict (ipaddr.js alone reads 0177.0.0.1 and 127.1); mapped IPv4 comes out as IPv4; a zone id names no public host. */
function parseAddress(address: string): Address | undefined {
  const version = isIP(address);
  if (version === 0 || address.includes('%')) return undefined;
  // ipaddr.js takes ::127.0.0.1 for ::ffff:127.0.0.1, another address; the URL parser writes both in hexadecimal.
  return ipaddr.process(version === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address);
}

const NAT64: Range = [ipaddr.IPv6.parse('64:ff9b::'), 96];
/** RFC 8215; a gateway's own prefix is taken for the /96 that is usual. */
const LOCAL_NAT64: Range = [ipaddr.IPv6.parse('64:ff9b:1::'), 48];
const IPV4_COMPATIBLE: Range = [ipaddr.IPv6.parse('::'), 96];
const GLOBAL_UNICAST: Range = [ipaddr.IPv6.parse('2000::'), 3];

/** Answer with credentials to whoever can reach them, so a wide allowed range must not open them by accident. */
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
  // A NAT64 gateway forwards to the IPv4 address inside: on IPv6-only hosts that is every IPv4 receiver.
  if (isInside(address, NAT64)) return isAllowed(ipv4At(address, 12), allowed);
  const carried = carriedIpv4(address);
  // Whatever it is, an address that ends in a metadata service's is not worth the risk.
  if ([address, ...carried, ...lastBytes(address)].some((one) => METADATA_SERVICES.has(one.toString()))) return false;
  // Who opens a way to IPv4 (a tunnel, a translator) does not open every IPv4 address behind it.
  if (allowed.some((range) => isInside(address, range))) return carried.every((one) => isAllowed(one, allowed));
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv4' || (isInside(address, GLOBAL_UNICAST) && !isIsatap(address));
}

type Range = readonly [address: Address, prefixLength: number];

/** A range written in mapped form (::ffff:10.0.0.0/104) is the IPv4 range it stands for. */
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

/** The IPv4 address, if any, to which a tunnel or translator would carry on what is sent to an IPv6 one. */
function carriedIpv4(address: Address): ipaddr.IPv4[] {
  if (address.kind() === 'ipv4') return [];
  const range = address.range();
  if (range === '6to4') return [ipv4At(address, 2)];
  // RFC 4380: with its bits inverted.
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
