import { createHmac, createSecretKey, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Keys } from '../lib/keys.ts';

/**
 * Every name that the engine uses in NATS, derived from NATS_PREFIX: `<prefix>_EVENTS` for streams, consumers and
 * inboxes, `<prefix>.events.…` for subjects. The names of two installations with different prefixes, or of one with and
 * one without a prefix, do not overlap.
 */
export type NatsNames = {
  /** Names of each stream and its durable consumer. */
  readonly events: StreamNames;
  readonly deliveries: StreamNames;
  /** The prefix of the subjects that receive answers to requests. */
  readonly inboxPrefix: string;
  readonly allLogSubjects: string;
  /** The subject on which nats-server announces that any client has created the sender's consumer. */
  readonly senderCreatedSubject: string;
  /** The subject of the senders' heartbeats. */
  readonly sendersSubject: string;
  /** The subject of the heartbeats of processes with readers of the live log. */
  readonly readersSubject: string;
  /** The subject on which processes request reports from each other, and answer. */
  readonly processesSubject: (token: string) => string;
  readonly eventSubject: (tenant: string, type: string) => string;
  readonly deliverySubject: (subscriptionId: string) => string;
  readonly logSubject: (tenant: string) => string;
  /** Undefined if it is not the subject of an event. The tenant and type are not validated, and may be empty. */
  readonly parseEventSubject: (subject: string) => { readonly tenant: string; readonly type: string } | undefined;
};

type StreamNames = { readonly stream: string; readonly consumer: string; readonly subjects: string };

const MAX_PREFIX_LENGTH = 32;
/** With one of these as prefix, the subjects would overlap with those of an installation without a prefix. */
export const OWN_TOKENS: readonly string[] = ['events', 'deliveries', 'log', 'senders', 'readers', 'processes'];

/**
 * Returns why the text cannot be a NATS_PREFIX; undefined if it can. A prefix cannot begin with an underscore, because
 * inboxes do.
 */
export function problemOfPrefix(text: string): string | undefined {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(text) || text.length > MAX_PREFIX_LENGTH) {
    return `must be 1 to ${MAX_PREFIX_LENGTH} letters, digits, _ or -, and begin with a letter or digit`;
  }
  return OWN_TOKENS.includes(text) ? `must not be ${OWN_TOKENS.join(', ')}: subjects would overlap` : undefined;
}

/** `prefix` is empty or valid. */
export function natsNames(prefix = ''): NatsNames {
  const name = (text: string) => (prefix === '' ? text : `${prefix}_${text}`);
  const root = prefix === '' ? '' : `${prefix}.`;
  const eventRoot = `${root}events.`;
  return {
    events: { stream: name('EVENTS'), consumer: name('dispatcher'), subjects: `${eventRoot}>` },
    deliveries: { stream: name('DELIVERIES'), consumer: name('sender'), subjects: `${root}deliveries.*` },
    // Not below _INBOX: clients that may subscribe to `_INBOX.>`, as publishers usually may, would receive the engine's
    // deliveries.
    inboxPrefix: `_INBOX_${name('webhooks')}`,
    allLogSubjects: `${root}log.*`,
    senderCreatedSubject: `$JS.EVENT.ADVISORY.CONSUMER.CREATED.${name('DELIVERIES')}.${name('sender')}`,
    sendersSubject: `${root}senders`,
    readersSubject: `${root}readers`,
    processesSubject: (token) => `${root}processes.${token}`,
    eventSubject: (tenant, type) => `${eventRoot}${tenant}.${type}`,
    deliverySubject: (subscriptionId) => `${root}deliveries.${subscriptionId}`,
    logSubject: (tenant) => `${root}log.${tenant}`,
    parseEventSubject: (subject) => {
      if (!subject.startsWith(eventRoot)) return undefined;
      const [tenant = '', ...type] = subject.slice(eventRoot.length).split('.');
      return { tenant, type: type.join('.') };
    },
  };
}

/**
 * Authenticates the messages that the engine's processes send each other over NATS, where other clients may publish,
 * too. Without a seal, a client that can publish to `deliveries.*` could have any payload signed and sent.
 */
export type MessageSeal = {
  /** Returns the bytes to publish on this subject. */
  readonly seal: (subject: string, body: Uint8Array) => Buffer;
  /** Returns the body; undefined if it was not sealed with one of the keys for this subject. */
  readonly open: (subject: string, sealed: Uint8Array) => Buffer | undefined;
};

const LABEL = 'webhooks-engine messages over NATS, version 1';
/** Characters: 32 bytes in base64url. */
const MAC_LENGTH = 43;

/**
 * Seals with HMAC-SHA-256 of subject and body, in a line before the body. The key is derived from SECRETS_KEY (HKDF,
 * RFC 5869), so every process of an installation has it. The first key seals, and all of them open. Takes 0.2 ms for
 * the largest message (256 KiB), 3 µs for 1 KB.
 */
export function createMessageSeal(...secretsKeys: Keys): MessageSeal {
  const [current, ...older] = secretsKeys;
  const sealing = createMac(current);
  const macs = [sealing, ...older.map(createMac)];
  return {
    seal: (subject, body) => Buffer.concat([sealing(subject, body), body]),
    open: (subject, sealed) => {
      const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
      if (bytes.length <= MAC_LENGTH) return undefined;
      const body = bytes.subarray(MAC_LENGTH + 1);
      const given = bytes.subarray(0, MAC_LENGTH + 1);
      return macs.some((mac) => timingSafeEqual(given, mac(subject, body))) ? body : undefined;
    },
  };
}

type Mac = (subject: string, body: Uint8Array) => Buffer;

function createMac(secretsKeyBase64: string): Mac {
  const derived = hkdfSync('sha256', Buffer.from(secretsKeyBase64, 'base64'), '', LABEL, 32);
  const key = createSecretKey(new Uint8Array(derived));
  return (subject, body) =>
    // A subject contains no line break, so no other subject and body produce the same bytes.
    Buffer.from(`${createHmac('sha256', key).update(`${subject}\n`).update(body).digest('base64url')}\n`);
}
