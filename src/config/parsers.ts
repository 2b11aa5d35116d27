import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import pg from 'pg';
import { ALERT_FORMATS } from '../alerts/message.ts';
import type { EgressProxy } from '../delivery/http/dial.ts';
import { MAX_PORT } from '../delivery/http/egress-policy.ts';
import { LOG_ATTEMPTS, type LogAttempts } from '../delivery/sending/attempt-metrics.ts';
import { type Keys, splitKeys } from '../lib/keys.ts';
import { splitList } from '../lib/text.ts';
import { problemOfPrefix } from '../nats/names.ts';
import { schemaOf } from '../postgres/connection.ts';
import { isSecretsKey, SECRET_PREFIX } from '../subscriptions/secrets.ts';
import { EXPORTERS, PROTOCOLS, SAMPLERS } from '../tracing/settings.ts';

export type Role = 'api' | 'dispatcher' | 'sender';
export const ROLES: readonly Role[] = ['api', 'dispatcher', 'sender'];

// Each function parses the text of one variable. The message of its errors follows the name of the variable: "must be …".

export function parseText(text: string): string {
  return text;
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > MAX_PORT)
    throw new Error(`must be a port number from 0 to 65535, not ${JSON.stringify(text)}`);
  return port;
}

export function countOf(max: number, min = 1): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!/^\d+$/.test(text) || count < min || count > max)
      throw new Error(`must be a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
    return count;
  };
}

/** The error message never contains the value, because URLs contain passwords. */
function parseUrl(text: string, protocols: readonly string[]): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !protocols.includes(url.protocol) || url.hostname === '') {
    throw new Error(`must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);
  }
  return text;
}

const PROXY_PORTS: Readonly<Record<EgressProxy['protocol'], number>> = { http: 80, https: 443, socks5: 1080 };

/** The error message never contains the value. */
export function parseProxy(text: string): EgressProxy {
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
export function parseSourceAddresses(text: string): string[] {
  const addresses = splitList(text);
  const families = addresses.map((address) => isIP(address));
  if (families.includes(0) || new Set(families).size < families.length) {
    throw new Error('must be an IPv4 address, an IPv6 address, or one of each, separated by a comma');
  }
  return addresses;
}

/** A URL for browsers, returned without a slash at its end. */
export function parsePublicUrl(text: string): string {
  const url = new URL(parseUrl(text, ['https:', 'http:']));
  if (url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') {
    throw new Error('must be a URL of scheme, host and path only');
  }
  return url.href.replace(/\/+$/, '');
}

/**
 * A URL of Postgres in the format of node-postgres: `postgres://host/database`, or `postgres:///database?host=/folder` for a
 * Unix socket. The error message never contains the value.
 */
export function parseDatabaseUrl(text: string): string {
  const [, authority] = /^postgres(?:ql)?:\/\/([^/?#]*)/.exec(text) ?? [];
  if (authority === undefined) throw new Error('must be a URL that starts with postgres:// or postgresql://');
  const inAuthority = authority.slice(authority.lastIndexOf('@') + 1);
  const hosts = new URLSearchParams(text.split('?')[1] ?? '').get('host') ?? inAuthority;
  if (hosts === '') {
    throw new Error('names no host: postgres://host/database, or postgres:///database?host=/folder for a Unix socket');
  }
  if (`${hosts}${inAuthority}`.includes(',')) {
    throw new Error('names several hosts: name one, such as a DNS name or a proxy that follows the primary');
  }
  checkReadable(text);
  if (!/^(?!pg_)[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(schemaOf(text))) {
    throw new Error('has a parameter schema that is not a plain name such as webhooks');
  }
  return text;
}

/** Throws if node-postgres cannot parse the URL or read the files that the URL names. */
function checkReadable(databaseUrl: string): void {
  const unreadable = 'cannot be read: special characters in the user and the password have to be percent-encoded';
  let client: pg.Client;
  try {
    client = new pg.Client({ connectionString: databaseUrl });
  } catch (error) {
    const isFile = error instanceof Error && 'syscall' in error && 'path' in error;
    throw new Error(isFile ? `names a file that cannot be read: ${String(error.path)}` : unreadable, { cause: error });
  }
  if (Number.isNaN(client.port)) throw new Error('has a port that is not a number');
}

const ENCODING_HINT =
  'a password with any of / ? # % , : @ has to be percent-encoded, as encodeURIComponent does in JavaScript';

/**
 * The userinfo of the URL must be percent-encoded: otherwise a part of it would be parsed as host, port, path or another
 * server. The error message never contains the value.
 */
function parseNatsServer(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['nats:', 'tls:'].includes(url.protocol) || url.hostname === '') {
    throw new Error(`must be URLs that start with nats:// or tls://, separated by commas; ${ENCODING_HINT}`);
  }
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '') {
    throw new Error(`has something after host and port; ${ENCODING_HINT}`);
  }
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    throw new Error(`has a user or password that is not percent-encoded; ${ENCODING_HINT}`);
  }
  return text;
}

/** The path of a credentials file. The file is checked here, and read again at each connection, so it can be replaced. */
export function parseCredentialsFile(text: string): string {
  const content = readTextFile(text);
  if (!content.includes('BEGIN NATS USER JWT') || !content.includes('BEGIN USER NKEY SEED')) {
    throw new Error(
      `names ${JSON.stringify(text)}, which has no user JWT and seed, as \`nsc generate creds\` prints them`,
    );
  }
  return text;
}

export function parsePemFile(text: string): string {
  if (!readTextFile(text).includes('-----BEGIN ')) throw new Error(`names ${JSON.stringify(text)}, which is not PEM`);
  return text;
}

function readTextFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new Error(`names ${JSON.stringify(path)}, which cannot be read (${code})`);
  }
}

export function parseNatsPrefix(text: string): string {
  const problem = problemOfPrefix(text);
  if (problem !== undefined) throw new Error(problem);
  return text;
}

/** An odd number, so that a majority of replicas can be unique. JetStream allows at most five. */
export function parseReplicas(text: string): number {
  if (!['1', '3', '5'].includes(text)) throw new Error(`must be 1, 3 or 5, not ${JSON.stringify(text)}`);
  return Number(text);
}

/** A number of bytes, from 4 MiB to 1 PiB. */
export function parseStreamBytes(text: string): number {
  const [, count = '', unit] = /^(\d{1,9})(MiB|GiB)$/.exec(text) ?? [];
  const bytes = Number(count) * (unit === 'GiB' ? 1024 ** 3 : 1024 ** 2);
  if (bytes < 4 * 1024 ** 2 || bytes > 1024 ** 5) {
    throw new Error(`must be a size of at least 4MiB, such as 512MiB or 8GiB, not ${JSON.stringify(text)}`);
  }
  return bytes;
}

export function parseNatsServers(text: string): string[] {
  const servers = splitList(text).map(parseNatsServer);
  if (servers.length === 0) throw new Error('must name at least one server');
  return servers;
}

export function parseRoles(text: string): Set<Role> {
  const names = splitList(text);
  const roles = ROLES.filter((role) => names.includes(role));
  const unknown = names.filter((name) => !ROLES.some((role) => role === name));
  if (unknown.length > 0) throw new Error(`may contain only ${ROLES.join(', ')}, not ${unknown.join(', ')}`);
  if (roles.length === 0) throw new Error(`must name at least one of ${ROLES.join(', ')}`);
  return new Set(roles);
}

/** The error message never contains the value. */
export function parseSecret(text: string): string {
  if (text.length < 32) throw new Error(`must have at least 32 characters, not ${text.length}`);
  return text;
}

/** Requires HTTPS except on loopback: over plain HTTP, an attacker on the network could replace the keys. */
export function parseJwksUrl(text: string): string {
  const { protocol, hostname } = new URL(parseUrl(text, ['https:', 'http:']));
  if (protocol === 'http:' && !/^(?:localhost|127\.[\d.]+|\[::1\])$/.test(hostname)) {
    throw new Error('must start with https://; http:// is allowed only for localhost and loopback addresses');
  }
  return text;
}

/** One or more keys; several during a rotation. The error message never contains a key. */
export function parseSecretsKeys(text: string): Keys {
  const keys = splitKeys(text);
  if (!keys.every(isSecretsKey)) throw new Error('must be 32 bytes in base64, or several of them, separated by commas');
  return keys;
}

export function parseAdminApiKeys(text: string): Keys {
  const keys = splitKeys(text);
  const short = keys.find((key) => key.length < 32);
  if (short !== undefined) throw new Error(`must have at least 32 characters, not ${short.length}`);
  return keys;
}

export function parseCidrs(text: string): string[] {
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

export function parsePorts(text: string): Set<number> {
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

export function parseBoolean(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new Error(`must be true or false, not ${JSON.stringify(text)}`);
  return text === 'true';
}

export function parseAllowHttp(text: string): 'always' | 'never' {
  return parseBoolean(text) ? 'always' : 'never';
}

/** Origins exactly as browsers send them, because they are compared as texts. */
export function parseOrigins(text: string): string[] {
  for (const origin of splitList(text)) {
    const url = URL.canParse(origin) ? new URL(origin) : undefined;
    if (url?.origin !== origin || !['http:', 'https:'].includes(url.protocol))
      throw new Error(`has ${JSON.stringify(origin)}, which is not an origin such as https://console.example.com`);
  }
  return splitList(text);
}

export function parseDnsServers(text: string): string[] {
  for (const server of splitList(text)) {
    const address = /^\[(.+)\](?::\d+)?$/.exec(server)?.[1] ?? /^([^:]+):\d+$/.exec(server)?.[1] ?? server;
    if (isIP(address) === 0) throw new Error(`has ${JSON.stringify(server)}, which is not an address or address:port`);
  }
  return splitList(text);
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const MAX_WAIT_MS = 7 * 86_400_000;

export function parseSchedule(text: string): number[] {
  const waits = splitList(text).map((item) => {
    const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(item) ?? [];
    const wait = Number(amount) * (UNIT_MS[unit ?? ''] ?? Number.NaN);
    if (!(wait >= 1 && wait <= MAX_WAIT_MS))
      throw new Error(`has ${JSON.stringify(item)}, which is not a wait such as 30s or 2m of at most 7d`);
    return wait;
  });
  if (waits.length === 0 || waits.length > 30) throw new Error('must name from 1 to 30 waits');
  return waits;
}

export function parseLogAttempts(text: string): LogAttempts {
  return oneOf(LOG_ATTEMPTS)(text);
}

export const parseAlertFormat = oneOf(ALERT_FORMATS);
export const parseTracesExporter = oneOf(EXPORTERS);
export const parseOtlpProtocol = oneOf(PROTOCOLS);
export const parseSampler = oneOf(SAMPLERS);

function oneOf<T extends string>(names: readonly T[]): (text: string) => T {
  return (text) => {
    const name = names.find((one) => one === text);
    if (name === undefined) throw new Error(`must be one of ${names.join(', ')}`);
    return name;
  };
}

export function parseHttpUrl(text: string): string {
  return parseUrl(text, ['https:', 'http:']);
}

/** A secret of 24 to 64 bytes, as Standard Webhooks recommends. The error message never contains the value. */
export function parseSigningSecret(text: string): string {
  const bytes = Buffer.from(text.slice(SECRET_PREFIX.length), 'base64');
  if (!/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text) || bytes.length < 24 || bytes.length > 64) {
    throw new Error('must be whsec_ and 24 to 64 bytes in base64, as `echo whsec_$(openssl rand -base64 32)` prints');
  }
  return text;
}

export function parseRatio(text: string): number {
  const ratio = Number(text);
  if (!/^[\d.]+$/.test(text) || !(ratio >= 0 && ratio <= 1)) throw new Error('must be a number from 0 to 1');
  return ratio;
}

/**
 * `name=value,name=value`, OpenTelemetry's format of headers and attributes, with percent-encoded values. The error message
 * never contains a value.
 */
export function parsePairs(text: string): Readonly<Record<string, string>> {
  const pairs = splitList(text).map((item) => {
    const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(item) ?? [];
    if (name === '') throw new Error('must be pairs such as name=value, separated by commas');
    try {
      return [name.trim(), decodeURIComponent(value.trim())] as const;
    } catch {
      throw new Error(`has a value of ${JSON.stringify(name.trim())} that is not percent-encoded`);
    }
  });
  return Object.fromEntries(pairs);
}

export function parseLogLevel(text: string): string {
  const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];
  if (!levels.includes(text)) throw new Error(`must be one of ${levels.join(', ')}`);
  return text;
}
