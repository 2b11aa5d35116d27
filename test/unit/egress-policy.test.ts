import { describe, expect, it } from 'vitest';
import { isAllowedAddress } from '../../src/delivery/http/egress-policy.ts';

/** Ranges of the IANA special-purpose registries of 2025-10, adjacent addresses, all forms of embedded IPv4 addresses. */
const ADDRESSES: readonly [address: string, allowed: boolean, reason: string][] = [
  ['0.0.0.0', false, 'this host; Linux connects to itself'],
  ['0.255.255.255', false, 'this network 0/8, last'],
  ['1.0.0.0', true, 'just above 0/8'],
  ['9.255.255.255', true, 'just below 10/8'],
  ['10.0.0.0', false, 'private 10/8, first'],
  ['10.255.255.255', false, 'private 10/8, last'],
  ['11.0.0.0', true, 'just above 10/8'],
  ['100.63.255.255', true, 'just below 100.64/10'],
  ['100.64.0.0', false, 'carrier-grade NAT, first'],
  ['100.100.100.200', false, 'Alibaba metadata'],
  ['100.127.255.255', false, 'carrier-grade NAT, last'],
  ['100.128.0.0', true, 'just above 100.64/10'],
  ['126.255.255.255', true, 'just below 127/8'],
  ['127.0.0.0', false, 'loopback, first'],
  ['127.0.0.1', false, 'loopback'],
  ['127.255.255.255', false, 'loopback, last'],
  ['128.0.0.0', true, 'just above 127/8'],
  ['168.63.129.15', true, 'just below Azure host'],
  ['168.63.129.16', false, 'Azure host, in public space'],
  ['168.63.129.17', true, 'just above Azure host'],
  ['169.253.255.255', true, 'just below 169.254/16'],
  ['169.254.0.0', false, 'link-local, first'],
  ['169.254.169.254', false, 'metadata'],
  ['169.254.255.255', false, 'link-local, last'],
  ['169.255.0.0', true, 'just above 169.254/16'],
  ['172.15.255.255', true, 'just below 172.16/12'],
  ['172.16.0.0', false, 'private 172.16/12, first'],
  ['172.31.255.255', false, 'private 172.16/12, last'],
  ['172.32.0.0', true, 'just above 172.16/12'],
  ['191.255.255.255', true, 'just below 192.0.0/24'],
  ['192.0.0.0', false, 'IETF protocol assignments, first'],
  ['192.0.0.192', false, 'Oracle metadata'],
  ['192.0.0.255', false, 'IETF protocol assignments, last'],
  ['192.0.1.0', true, 'just above 192.0.0/24'],
  ['192.0.2.1', false, 'TEST-NET-1'],
  ['192.0.3.0', true, 'just above TEST-NET-1'],
  ['192.31.195.255', true, 'just below AS112'],
  ['192.31.196.1', false, 'AS112-v4'],
  ['192.52.193.1', false, 'AMT'],
  ['192.88.98.255', true, 'just below 192.88.99/24'],
  ['192.88.99.1', false, '6to4 relay anycast'],
  ['192.88.100.0', true, 'just above 192.88.99/24'],
  ['192.167.255.255', true, 'just below 192.168/16'],
  ['192.168.0.0', false, 'private 192.168/16, first'],
  ['192.168.255.255', false, 'private 192.168/16, last'],
  ['192.169.0.0', true, 'just above 192.168/16'],
  ['192.175.48.1', false, 'AS112 delegation'],
  ['198.17.255.255', true, 'just below 198.18/15'],
  ['198.18.0.0', false, 'benchmarking, first'],
  ['198.19.255.255', false, 'benchmarking, last'],
  ['198.20.0.0', true, 'just above 198.18/15'],
  ['198.51.100.1', false, 'TEST-NET-2'],
  ['198.51.101.0', true, 'just above TEST-NET-2'],
  ['203.0.112.255', true, 'just below TEST-NET-3'],
  ['203.0.113.1', false, 'TEST-NET-3'],
  ['203.0.114.0', true, 'just above TEST-NET-3'],
  ['223.255.255.255', true, 'just below multicast'],
  ['224.0.0.1', false, 'multicast, first'],
  ['239.255.255.255', false, 'multicast, last'],
  ['240.0.0.1', false, 'reserved'],
  ['255.255.255.255', false, 'broadcast'],
  ['8.8.8.8', true, 'public'],
  ['::', false, 'unspecified'],
  ['::1', false, 'loopback'],
  ['::2', false, 'IPv4-compatible block'],
  ['::127.0.0.1', false, 'IPv4-compatible loopback'],
  ['::a9fe:a9fe', false, 'IPv4-compatible metadata'],
  ['::8.8.8.8', false, 'IPv4-compatible public: nothing routes it'],
  ['::ffff:127.0.0.1', false, 'mapped loopback'],
  ['::ffff:7f00:1', false, 'mapped loopback as the URL parser writes it'],
  ['::ffff:a9fe:a9fe', false, 'mapped metadata'],
  ['::ffff:a83f:8110', false, 'mapped Azure host'],
  ['::ffff:8.8.8.8', true, 'mapped public: the kernel speaks IPv4'],
  ['::ffff:0:127.0.0.1', false, 'SIIT (RFC 2765)'],
  ['64:ff9b::7f00:1', false, 'NAT64 to loopback'],
  ['64:ff9b::a9fe:a9fe', false, 'NAT64 to metadata'],
  ['64:ff9b::a83f:8110', false, 'NAT64 to Azure host'],
  ['64:ff9b::808:808', true, 'NAT64 to public: how IPv6-only hosts reach IPv4'],
  ['64:ff9b:0:0:0:1::', false, 'beside NAT64, reserved'],
  ['64:ff9b:1::808:808', false, 'local-use NAT64 (RFC 8215)'],
  ['64:ff9b:2::1', false, 'just above local-use NAT64, reserved'],
  ['100::1', false, 'discard-only (RFC 6666)'],
  ['100:0:0:1::1', false, 'dummy prefix (RFC 9780)'],
  ['200::1', false, 'reserved; Yggdrasil routes it'],
  ['400::1', false, 'reserved 0400::/6'],
  ['1000::1', false, 'reserved 1000::/4'],
  ['1fff:ffff::1', false, 'just below 2000::/3'],
  ['2000::1', true, 'first of 2000::/3'],
  ['2001::1', false, 'Teredo'],
  ['2001:0:808:808:8000:ffff:5601:5601', false, 'Teredo with metadata inverted'],
  ['2001:1::1', false, 'port control anycast'],
  ['2001:2::1', false, 'benchmarking'],
  ['2001:3::1', false, 'AMT'],
  ['2001:4:112::1', false, 'AS112-v6'],
  ['2001:10::1', false, 'ORCHID'],
  ['2001:20::1', false, 'ORCHIDv2'],
  ['2001:30::1', false, 'drone remote id'],
  ['2001:1ff:ffff::1', false, 'last of 2001::/23'],
  ['2001:200::1', true, 'just above 2001::/23'],
  ['2001:db7:ffff::1', true, 'just below documentation'],
  ['2001:db8::1', false, 'documentation'],
  ['2001:db9::1', true, 'just above documentation'],
  ['2002:7f00:1::1', false, '6to4 of loopback'],
  ['2002:808:808::1', false, '6to4 of public: the relays are gone'],
  ['2003::1', true, 'just above 6to4'],
  ['2606:4700::1111', true, 'public'],
  ['2606:4700::5efe:7f00:1', false, 'ISATAP of loopback'],
  ['2606:4700::200:5efe:808:808', false, 'ISATAP, global id'],
  ['2606:4700:0:0:1:5efe:7f00:1', true, 'not an ISATAP id'],
  ['2606:4700::a9fe:a9fe', false, 'ends in the metadata address'],
  ['2600:a9fe:a9fe::1', true, 'public, though it looks like 6to4 of metadata'],
  ['2620:4f:8000::1', false, 'AS112 delegation'],
  ['3ffe:ffff::1', true, 'public: 6bone was given back'],
  ['3fff::1', false, 'documentation 3fff::/20'],
  ['3fff:1000::1', true, 'just above documentation 3fff::/20'],
  ['4000::1', false, 'just above 2000::/3'],
  ['5f00::1', false, 'segment routing'],
  ['8000::1', false, 'reserved'],
  ['fbff::1', false, 'just below unique local'],
  ['fc00::1', false, 'unique local'],
  ['fd00:ec2::254', false, 'AWS metadata'],
  ['fdff:ffff::1', false, 'unique local, last'],
  ['fe00::1', false, 'reserved'],
  ['fe80::1', false, 'link-local'],
  ['fec0::1', false, 'site-local'],
  ['ff02::1', false, 'multicast'],
  ['fe80::1%lo', false, 'zone id'],
  ['2606:4700::1111%eth0', false, 'zone id on a public address'],
  ['::ffff:127.0.0.1%1', false, 'zone id on a mapped address'],
  ['0177.0.0.1', false, 'octal: not an address in this spelling'],
  ['8.8.8.010', false, 'leading zero'],
  ['8.8.8', false, 'short form'],
  ['134744072', false, 'one number'],
  ['0x8.8.8.8', false, 'hexadecimal'],
  ['[2606:4700::1111]', false, 'brackets belong to URLs'],
  ['', false, 'nothing'],
  ['example.com', false, 'a name'],
];

/** Addresses that allowCidrs allows, and metadata services that it allows only if they are listed themselves. */
const WITH_RANGES: readonly [address: string, allowCidrs: readonly string[], allowed: boolean, reason: string][] = [
  ['10.1.2.3', ['10.0.0.0/8'], true, 'inside an allowed range'],
  ['::ffff:10.1.2.3', ['10.0.0.0/8'], true, 'mapped, inside an allowed range'],
  ['64:ff9b::a01:203', ['10.0.0.0/8'], true, 'NAT64, inside an allowed range'],
  ['11.1.2.3', ['10.0.0.0/8'], true, 'public stays allowed'],
  ['192.168.0.1', ['10.0.0.0/8'], false, 'outside the allowed range'],
  ['10.1.2.3', ['::ffff:10.0.0.0/104'], true, 'a range written in mapped form'],
  ['10.1.2.3', ['::/0'], false, 'an IPv6 range opens no IPv4'],
  ['::1', ['127.0.0.0/8'], false, 'the other loopback'],
  ['::1', ['127.0.0.0/8', '::1/128'], true, 'both loopbacks'],
  ['::127.0.0.1', ['127.0.0.0/8'], false, 'IPv4-compatible is judged by IPv6 ranges'],
  ['fd12::1', ['fc00::/7'], true, 'unique local'],
  ['2002:808:808::1', ['2002::/16'], true, '6to4 where allowed'],
  ['2606:4700::5efe:808:808', ['2606:4700::/32'], true, 'ISATAP where allowed'],
  ['10.1.2.3%lo', ['0.0.0.0/0'], false, 'a zone id is never allowed'],
  ['169.254.169.254', ['0.0.0.0/0', '169.254.0.0/16', '169.254.169.254/31'], false, 'metadata, wide ranges'],
  ['169.254.169.254', ['169.254.169.254/32'], true, 'metadata, named exactly'],
  ['::ffff:169.254.169.254', ['169.254.169.254/32'], true, 'mapped metadata, named exactly'],
  ['169.254.169.253', ['169.254.0.0/16'], true, 'link-local beside metadata'],
  ['168.63.129.16', ['168.0.0.0/8'], false, 'Azure host, wide range'],
  ['100.100.100.200', ['100.64.0.0/10'], false, 'Alibaba metadata, wide range'],
  ['fd00:ec2::254', ['fc00::/7', 'fd00:ec2::/32'], false, 'AWS metadata, wide ranges'],
  ['fd00:ec2::254', ['fd00:ec2::254/128'], true, 'AWS metadata, named exactly'],
  ['64:ff9b:1::a00:1', ['64:ff9b:1::/96'], false, 'private through an opened NAT64 gateway'],
  ['64:ff9b:1::a00:1', ['64:ff9b:1::/96', '10.0.0.0/8'], true, 'private through NAT64, both opened'],
  ['64:ff9b:1::a00:1', ['64:ff9b:1::a00:1/128'], true, 'private through NAT64, named exactly'],
  ['fd12::a00:1', ['fc00::/7'], true, 'ends like a private address, but carries none'],
  ['::1', ['::/64'], true, 'loopback is not IPv4-compatible'],
  ['64:ff9b::a9fe:a9fe', ['64:ff9b::/96', '::/0', '0.0.0.0/0'], false, 'metadata through NAT64'],
  ['64:ff9b:1::a9fe:a9fe', ['::/0'], false, 'metadata through local-use NAT64'],
  ['2002:a9fe:a9fe::1', ['2002::/16'], false, 'metadata through 6to4'],
  ['2001:0:808:808:8000:ffff:5601:5601', ['2001::/32'], false, 'metadata through Teredo'],
  ['::a9fe:a9fe', ['::/96'], false, 'metadata, IPv4-compatible'],
  ['fd00::5efe:a9fe:a9fe', ['fc00::/7'], false, 'metadata through ISATAP'],
];

/** Every form of an IPv6 address that contains an IPv4 address (bytes a.b.c.d), and the range of the form. */
const FORMS: readonly [form: string, range: string, wrap: (bytes: readonly number[]) => string][] = [
  ['compatible (RFC 4291)', '::/96', (bytes) => `::${hex(bytes)}`],
  ['SIIT (RFC 2765)', '::ffff:0:0:0/96', (bytes) => `::ffff:0:${hex(bytes)}`],
  ['6to4 (RFC 3056)', '2002::/16', (bytes) => `2002:${hex(bytes)}::1`],
  ['Teredo (RFC 4380)', '2001::/32', (bytes) => `2001:0:808:808:8000:ffff:${hex(bytes.map((byte) => byte ^ 0xff))}`],
  ['local-use NAT64 (RFC 8215)', '64:ff9b:1::/48', (bytes) => `64:ff9b:1:abcd::${hex(bytes)}`],
  ['ISATAP (RFC 5214), private id', 'fd00::/8', (bytes) => `fd00::5efe:${hex(bytes)}`],
  ['ISATAP (RFC 5214), global id', 'fd00::/8', (bytes) => `fd00::200:5efe:${hex(bytes)}`],
];
/** Forms that always mean the IPv4 address. Their own range need not be allowed. */
const PLAIN_FORMS: readonly [form: string, wrap: (bytes: readonly number[]) => string][] = [
  ['mapped (RFC 4291)', (bytes) => `::ffff:${hex(bytes)}`],
  ['mapped, as people write it', (bytes) => `::ffff:${bytes.join('.')}`],
  ['NAT64 (RFC 6052)', (bytes) => `64:ff9b::${hex(bytes)}`],
];
const IPV4 = [
  ...[
    '127.0.0.1',
    '10.0.0.1',
    '172.16.0.1',
    '192.168.0.1',
    '169.254.169.254',
    '168.63.129.16',
    '100.64.0.1',
    '0.0.0.0',
  ],
  ...['192.0.2.1', '224.0.0.1', '255.255.255.255', '8.8.8.8', '93.184.215.14'],
].map((address) => ({ address, bytes: address.split('.').map(Number) }));

function hex(bytes: readonly number[]): string {
  const digits = Buffer.from(bytes).toString('hex');
  return `${digits.slice(0, 4)}:${digits.slice(4)}`;
}

describe('an IPv4 address within an IPv6 one', () => {
  it.each(PLAIN_FORMS)('%s is allowed or denied like the IPv4 address', (_form, wrap) => {
    for (const allowCidrs of [[], ['10.0.0.0/8'], ['169.254.169.254/32']]) {
      for (const { address, bytes } of IPV4) {
        expect(isAllowedAddress(wrap(bytes), { allowCidrs }), wrap(bytes)).toBe(
          isAllowedAddress(address, { allowCidrs }),
        );
      }
    }
  });

  it.each(FORMS)(
    '%s is denied, unless %s is allowed; it is then treated like the IPv4 address',
    (_form, range, wrap) => {
      for (const { address, bytes } of IPV4) {
        expect(isAllowedAddress(wrap(bytes), { allowCidrs: [] }), wrap(bytes)).toBe(false);
        expect(isAllowedAddress(wrap(bytes), { allowCidrs: ['0.0.0.0/0'] }), wrap(bytes)).toBe(false);
        for (const more of [[], ['10.0.0.0/8']]) {
          const allowCidrs = [range, ...more];
          expect(isAllowedAddress(wrap(bytes), { allowCidrs }), wrap(bytes)).toBe(
            isAllowedAddress(address, { allowCidrs: more }),
          );
        }
      }
    },
  );
});

describe('isAllowedAddress', () => {
  it.each(ADDRESSES)('%s → %s: %s', (address, allowed) => {
    expect(isAllowedAddress(address, { allowCidrs: [] })).toBe(allowed);
  });

  it.each(WITH_RANGES)('%s with %j → %s: %s', (address, allowCidrs, allowed) => {
    expect(isAllowedAddress(address, { allowCidrs })).toBe(allowed);
  });
});
