import { isIP } from 'node:net';
import { InputError } from '../../lib/domain-error.ts';
import { isAllowedAddress, isLoopbackAddress } from './address-rule.ts';
import type { EgressPolicy } from './egress-policy.ts';
import { isAllowedPort } from './port-rule.ts';

/** The URL cannot be a webhook subscription's target; the message says why. */
export class TargetRejectedError extends InputError {
  readonly code = 'TARGET_REJECTED';
}

const MAX_URL_LENGTH = 2_048;
const MAX_NAME_LENGTH = 253;
/** What DNS carries; underscores are not host names by RFC 952, but resolve and are in use. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/**
 * Last labels that the public DNS does not have or never will: those of private networks, `test` and `local` (RFC 6761,
 * RFC 6762, ICANN's .internal), and `arpa`, which has the infrastructure of DNS and `home.arpa` (RFC 8375). `example` is
 * none of them: RFC 6761 asks programs not to treat it as special.
 */
const PRIVATE_NAME = /(?:^|\.)(?:local|localdomain|internal|intranet|private|corp|home|mail|lan|test|arpa)$/;
/** Names that must not be looked up in the DNS (RFC 6761, RFC 7686, RFC 9476). */
const NOT_IN_DNS = /(?:^|\.)(?:invalid|onion|alt)$/;
/** Names of metadata services, which answer with credentials; most of them are under .internal as well. */
const METADATA_NAME =
  /^(?:metadata|instance-data|metadata\.goog|(?:.+\.)?metadata\.google\.internal|instance-data\.ec2\.internal|metadata\.azure\.(?:com|internal)|metadata\.(?:packet\.net|platformequinix\.com|tencentyun\.com|oraclecloud\.com))$/;

/**
 * The target a customer asks for, checked as far as that is possible without the network. Store `href` of the result
 * and deliver to that: the text may be spelled so that another parser reads another host. Names are resolved and
 * their addresses checked at every connection (EgressAgents), not here.
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
  // The dot of a fully qualified name belongs neither into the Host header nor into the name of a certificate.
  if (/[^.]\.$/.test(url.hostname)) url.hostname = url.hostname.slice(0, -1);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0) checkAddress(host, policy);
  else checkName(host, policy);
  if (url.protocol === 'http:' && !isHttpAllowed(host, policy)) rejectScheme(policy);
  url.hash = '';
  // Percent-encoding can make it longer than what was typed.
  if (url.href.length > MAX_URL_LENGTH) reject(`the URL has more than ${MAX_URL_LENGTH} characters`);
  return url;
}

/** RFC 6761: these names mean this machine, and no name server is asked. */
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

/** An operator that allows private ranges has private names as well; connecting still checks the addresses behind them. */
function hasPrivateNetwork({ allowCidrs }: EgressPolicy): boolean {
  return allowCidrs.some((cidr) => !isLoopbackAddress(cidr.split('/', 1)[0] ?? ''));
}

/** The services are opened by the exact address alone (address-rule.ts), and so are their names. */
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
