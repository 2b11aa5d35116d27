import { describe, expect, it } from 'vitest';
import { checkTargetUrl, type EgressPolicy, TargetRejectedError } from '../../src/delivery/http/egress-policy.ts';

const denyPorts: ReadonlySet<number> = new Set([25]);
const STRICT: EgressPolicy = { allowCidrs: [], allowHttp: 'never', denyPorts };
const EMBEDDED: EgressPolicy = { allowCidrs: ['127.0.0.0/8', '::1/128'], allowHttp: 'loopback', denyPorts };
const PRIVATE: EgressPolicy = { allowCidrs: ['10.0.0.0/8'], allowHttp: 'never', denyPorts };
const OPEN: EgressPolicy = { allowCidrs: [], allowHttp: 'always', denyPorts };

/** RFC 6761 (except example names), 6762, 7686, 8375, 9476, the rest of .arpa, names of metadata services and networks. */
const SPECIAL_NAMES = [
  ...['localhost', 'a.localhost', 'test', 'a.test', 'invalid', 'a.b.invalid', 'a.local', 'a.onion', 'a.alt', 'onion'],
  ...['home.arpa', 'a.home.arpa', '1.0.0.127.in-addr.arpa', 'ip6.arpa', 'ipv4only.arpa', 'resolver.arpa', 'arpa'],
  ...['metadata.google.internal', 'metadata.goog', 'metadata', 'instance-data', 'instance-data.ec2.internal'],
  ...['metadata.azure.com', 'metadata.packet.net', 'metadata.platformequinix.com', 'metadata.tencentyun.com'],
  ...['a.internal', 'host.docker.internal', 'kubernetes.default.svc.cluster.local', 'a.lan', 'a.corp', 'a.home'],
];

function messageOf(text: string, policy: EgressPolicy): string {
  try {
    checkTargetUrl(text, policy);
  } catch (error) {
    if (error instanceof TargetRejectedError) return error.message;
    throw error;
  }
  return 'accepted';
}

describe('checkTargetUrl', () => {
  it.each([
    ['https://example.com/hook?a=1', 'https://example.com/hook?a=1'],
    ['https://EXAMPLE.com:443', 'https://example.com/'],
    ['https://example.com/#part', 'https://example.com/'],
    ['https://example.com/#', 'https://example.com/'],
    ['https://bücher.example/ä', 'https://xn--bcher-kva.example/%C3%A4'],
    ['https:\\\\example.com\\hook', 'https://example.com/hook'],
    ['  https://exa\tmple.com/\n', 'https://example.com/'],
    ['https://8.8.8.8:8443/', 'https://8.8.8.8:8443/'],
    ['https://0x08080808/', 'https://8.8.8.8/'],
    ['https://example.com:1/', 'https://example.com:1/'],
    ['https://example.com:65535/', 'https://example.com:65535/'],
    ['https://[2606:4700::1111]/', 'https://[2606:4700::1111]/'],
    ['https://[::ffff:8.8.8.8]/', 'https://[::ffff:808:808]/'],
    ['https://example.com./', 'https://example.com/'],
    ['https://EXAMPLE.com.:8443/a?b=1', 'https://example.com:8443/a?b=1'],
    ['https://8.8.8.8./', 'https://8.8.8.8/'],
    // RFC 2606.
    ['https://hooks.example.org/', 'https://hooks.example.org/'],
    ['https://example.net/', 'https://example.net/'],
    ['https://invalid.example.com/', 'https://invalid.example.com/'],
    ['https://local.dev/', 'https://local.dev/'],
    ['https://metadata.example.com/', 'https://metadata.example.com/'],
    ['https://arpanet.com/', 'https://arpanet.com/'],
    ['https://my_service.example.com/', 'https://my_service.example.com/'],
  ])('reads %j as %j', (text, href) => {
    expect(checkTargetUrl(text, STRICT).href).toBe(href);
  });

  it.each([
    'https://127.0.0.1/',
    'https://127.0.0.1./',
    'https://0177.0.0.1/',
    'https://0x7f.1/',
    'https://127.1/',
    'https://2130706433/',
    'https://017700000001/',
    'https://0x7f000001/',
    'https://%31%32%37.0.0.1/',
    'https://１２７.0.0.1/',
    'https://①②⑦.⓪.⓪.①/',
    'https://127。0。0。1/',
  ])('rejects %j, which is 127.0.0.1', (text) => {
    expect(messageOf(text, STRICT)).toBe('the address 127.0.0.1 is not reachable from the internet');
  });

  it.each([
    ['https://0/', '0.0.0.0'],
    ['https://10.0.0.1/', '10.0.0.1'],
    ['https://169.254.169.254/latest/meta-data/', '169.254.169.254'],
    ['https://[::1]/', '::1'],
    ['https://[::ffff:127.0.0.1]/', '::ffff:7f00:1'],
    ['https://[::127.0.0.1]/', '::7f00:1'],
    ['https://[64:ff9b::169.254.169.254]/', '64:ff9b::a9fe:a9fe'],
  ])('rejects %j, which is %s', (text, address) => {
    expect(messageOf(text, STRICT)).toBe(`the address ${address} is not reachable from the internet`);
  });

  it.each([
    ['not a url', 'is not valid'],
    ['', 'is not valid'],
    ['https://', 'is not valid'],
    ['//example.com', 'is not valid'],
    ['https://example.com:65536/', 'is not valid'],
    ['https://[fe80::1%25lo]/', 'is not valid'],
    ['https://1.2.3.4.5/', 'is not valid'],
    ['https://256.1.1.1/', 'is not valid'],
    ['http://example.com/', 'must start with https://'],
    ['ftp://example.com/', 'must start with https://'],
    ['file:///etc/passwd', 'must start with https://'],
    ['unix:/var/run/docker.sock', 'must start with https://'],
    ['javascript:alert(1)', 'must start with https://'],
    ['https://user:secret@example.com/', 'must not contain a user name'],
    ['https://user@example.com/', 'must not contain a user name'],
    ['https://:secret@example.com/', 'must not contain a user name'],
    ['https://example.com:0/', 'port must be'],
    ['https://example.com:25/', 'the port 25 is not allowed'],
    ['https://8.8.8.8:025/', 'the port 25 is not allowed'],
    ['https://localhost:25/', 'the port 25 is not allowed'],
    ['https://example..com/', 'not a valid name'],
    ['https://.example.com/', 'not a valid name'],
    ['https://../', 'not a valid name'],
    ['https://-example.com/', 'not a valid name'],
    ['https://127.0.0.1../', 'not a valid name'],
    [`https://${'a'.repeat(64)}.com/`, 'not a valid name'],
    [`https://${'a.'.repeat(127)}com/`, 'not a valid name'],
    ['https://exa$mple.com/', 'not a valid name'],
    [`https://example.com/${'a'.repeat(2_048)}`, 'more than 2048 characters'],
    [`https://example.com/${'ä'.repeat(1_000)}`, 'more than 2048 characters'],
    ['https://localhost/', 'not reachable'],
    ['https://LOCALHOST/', 'not reachable'],
    ['https://app.localhost/', 'not reachable'],
    ['https://intranet/', 'not reachable'],
    ['https://printer.local/', 'not reachable'],
    ['https://metadata.google.internal/', 'not reachable'],
    ['https://db.prod.internal/', 'not reachable'],
    ['https://nas.home.arpa/', 'not reachable'],
    ['https://nas.lan/', 'not reachable'],
    ['https://host.localdomain/', 'not reachable'],
    ...SPECIAL_NAMES.flatMap((name): [string, string][] => [
      [`https://${name}/`, 'not reachable'],
      [`https://${name.toUpperCase()}./`, 'not reachable'],
    ]),
  ])('rejects %j: %s', (text, part) => {
    const message = messageOf(text, STRICT);
    expect(message).toContain(part);
    expect(message).not.toContain('secret');
  });

  it.each([
    ['http://localhost:8080/', EMBEDDED, 'accepted'],
    ['http://app.localhost/', EMBEDDED, 'accepted'],
    ['http://127.0.0.1/', EMBEDDED, 'accepted'],
    ['http://[::1]:3000/', EMBEDDED, 'accepted'],
    ['http://[::ffff:127.0.0.1]/', EMBEDDED, 'accepted'],
    ['http://example.com/', EMBEDDED, 'the URL must start with https://, or http:// to localhost'],
    ['http://8.8.8.8/', EMBEDDED, 'the URL must start with https://, or http:// to localhost'],
    ['http://10.0.0.1/', EMBEDDED, 'the address 10.0.0.1 is not reachable from the internet'],
    ['http://localhost:5050/', EMBEDDED, 'accepted'],
    ['http://localhost.:5050/', EMBEDDED, 'accepted'],
    ...SPECIAL_NAMES.filter((name) => !name.endsWith('localhost')).map(
      (name) => [`https://${name}/`, EMBEDDED, `the host ${name} is not reachable from the internet`] as const,
    ),
    ['https://receiver/', EMBEDDED, 'the host receiver is not reachable from the internet'],
    ['https://receiver/', PRIVATE, 'accepted'],
    ['https://a.local/', PRIVATE, 'accepted'],
    ['https://a.internal/', PRIVATE, 'accepted'],
    ['https://a.test/', PRIVATE, 'accepted'],
    ['https://a.home.arpa/', PRIVATE, 'accepted'],
    ['https://localhost/', PRIVATE, 'the host localhost is not reachable from the internet'],
    ['https://a.onion/', PRIVATE, 'the host a.onion is not reachable from the internet'],
    ['https://a.invalid/', PRIVATE, 'the host a.invalid is not reachable from the internet'],
    ['https://metadata.goog/', PRIVATE, 'the host metadata.goog is not reachable from the internet'],
    [
      'https://metadata.google.internal/',
      PRIVATE,
      'the host metadata.google.internal is not reachable from the internet',
    ],
    ['https://metadata.google.internal/', { ...PRIVATE, allowCidrs: ['169.254.169.254/32'] }, 'accepted'],
    ['http://example.com/', OPEN, 'accepted'],
    ['https://example.com/', { ...OPEN, denyPorts: new Set([443]) }, 'the port 443 is not allowed for webhooks'],
    ['http://example.com/', { ...OPEN, denyPorts: new Set([443]) }, 'accepted'],
    ['http://example.com/', { ...OPEN, denyPorts: new Set([80]) }, 'the port 80 is not allowed for webhooks'],
    ['https://example.com:25/', { ...OPEN, denyPorts: new Set<number>() }, 'accepted'],
    ['http://8.8.8.8/', OPEN, 'accepted'],
    ['http://127.0.0.1/', OPEN, 'the address 127.0.0.1 is not reachable from the internet'],
    ['http://localhost/', OPEN, 'the host localhost is not reachable from the internet'],
    ['ftp://example.com/', OPEN, 'the URL must start with https:// or http://'],
    ['http://localhost/', { ...EMBEDDED, allowCidrs: [] }, 'the host localhost is not reachable from the internet'],
    ['http://localhost/', { ...EMBEDDED, allowCidrs: ['::1/128'] }, 'accepted'],
    ['https://localhost/', { ...EMBEDDED, allowHttp: 'never' }, 'accepted'],
    ['http://localhost/', { ...EMBEDDED, allowHttp: 'never' }, 'the URL must start with https://'],
  ] as const)('%s under %j: %s', (text, policy, message) => {
    expect(messageOf(text, policy)).toBe(message);
  });

  it('has the error code of GraphQL', () => {
    expect(() => checkTargetUrl('https://10.0.0.1/', STRICT)).toThrow(
      expect.objectContaining({ code: 'TARGET_REJECTED' }),
    );
  });
});
