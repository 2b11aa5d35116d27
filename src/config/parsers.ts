import pg from 'pg';
import { MAX_PORT } from '../delivery/http/egress-policy.ts';
import { type Keys, splitKeys } from '../lib/keys.ts';
import { splitList } from '../lib/text.ts';
import { schemaOf } from '../postgres/connection.ts';
import { isSecretsKey, SECRET_PREFIX } from '../subscriptions/secrets.ts';

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
export function parseUrl(text: string, protocols: readonly string[]): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !protocols.includes(url.protocol) || url.hostname === '') {
    throw new Error(`must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);
  }
  return text;
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

export function parseBoolean(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new Error(`must be true or false, not ${JSON.stringify(text)}`);
  return text === 'true';
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

/** A parser of one of these names. */
export function oneOf<T extends string>(names: readonly T[]): (text: string) => T {
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
