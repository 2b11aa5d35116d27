import { readFileSync } from 'node:fs';
import { splitList } from '../lib/text.ts';
import { OWN_TOKENS, problemOfPrefix } from '../nats/names.ts';
import { DELIVERIES_MAX_BYTES, EVENTS_MAX_BYTES } from '../nats/streams.ts';
import { variable } from './table.ts';

const GIB = 1024 ** 3;

/** The variables of NATS, except those that select the server. */
export const NATS = {
  prefix: variable('NATS_PREFIX', {
    parse: parseNatsPrefix,
    shownDefault: 'empty',
    fallback: () => '',
    meaning: `The prefix of all streams (\`<prefix>_EVENTS\`), consumers and subjects (\`<prefix>.events.<tenant>.<type>\`), so that several installations can share a NATS account: 1 to 32 letters, digits, \`_\` or \`-\`, beginning with a letter or digit, and none of \`${OWN_TOKENS.join('\`, \`')}\`. The same in every process. After a change, messages in the streams of the old prefix stay there.`,
  }),
  streams: {
    replicas: variable('NATS_REPLICAS', {
      parse: parseReplicas,
      default: '1',
      meaning:
        'Replicas of the streams when they are created: 1, or 3 or 5 in a cluster. Existing streams are not changed.',
    }),
    eventsMaxBytes: variable('NATS_EVENTS_MAX_BYTES', {
      parse: parseStreamBytes,
      default: `${EVENTS_MAX_BYTES / GIB}GiB`,
      meaning:
        'The size of the stream EVENTS when it is created, at least `4MiB`, in `MiB` or `GiB`. It is smaller if JetStream has [less space](nats-server.md#room). An existing stream is not changed.',
    }),
    deliveriesMaxBytes: variable('NATS_DELIVERIES_MAX_BYTES', {
      parse: parseStreamBytes,
      default: `${DELIVERIES_MAX_BYTES / GIB}GiB`,
      meaning: 'The size of the stream DELIVERIES when it is created, in the format of `NATS_EVENTS_MAX_BYTES`.',
    }),
  },
  login: {
    credentialsFile: variable('NATS_CREDS', {
      parse: parseCredentialsFile,
      meaning:
        "A credentials file (a user's JWT and seed), in place of a password in `NATS_URL`. Read again at each connection.",
    }),
    caFile: variable('NATS_CA_FILE', {
      parse: parsePemFile,
      meaning:
        'The certificates (PEM) with which the servers are verified. If it is set, connections without TLS are rejected.',
    }),
    certFile: variable('NATS_CERT_FILE', {
      parse: parsePemFile,
      meaning:
        'A client certificate (PEM) to log in with; requires `NATS_KEY_FILE`. Both are read again at each connection.',
    }),
    keyFile: variable('NATS_KEY_FILE', {
      parse: parsePemFile,
      meaning: 'The private key of `NATS_CERT_FILE` (PEM).',
    }),
  },
};

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
function parseCredentialsFile(text: string): string {
  const content = readTextFile(text);
  if (!content.includes('BEGIN NATS USER JWT') || !content.includes('BEGIN USER NKEY SEED')) {
    throw new Error(
      `names ${JSON.stringify(text)}, which has no user JWT and seed, as \`nsc generate creds\` prints them`,
    );
  }
  return text;
}

function parsePemFile(text: string): string {
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

function parseNatsPrefix(text: string): string {
  const problem = problemOfPrefix(text);
  if (problem !== undefined) throw new Error(problem);
  return text;
}

/** An odd number, so that a majority of replicas can be unique. JetStream allows at most five. */
function parseReplicas(text: string): number {
  if (!['1', '3', '5'].includes(text)) throw new Error(`must be 1, 3 or 5, not ${JSON.stringify(text)}`);
  return Number(text);
}

/** A number of bytes, from 4 MiB to 1 PiB. */
function parseStreamBytes(text: string): number {
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
