import { createHmac, createSecretKey, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Keys } from '../lib/keys.ts';

/**
 * Every name that we use in NATS, made from NATS_PREFIX: `<prefix>_EVENTS` for streams, consumers and inboxes,
 * `<prefix>.events.…` for subjects. Two installations with different prefixes never meet, and nor do one with a prefix
 * and one without.
 */
export type NatsNames = {
  /** Streams, and the durable consumer of each. */
  readonly events: StreamNames;
  readonly deliveries: StreamNames;
  /** The beginning of the subjects that answers to our requests come to. */
  readonly inboxPrefix: string;
  readonly allLogSubjects: string;
  /** Senders announce themselves to each other here. */
  readonly sendersSubject: string;
  /** Processes with readers of the live log say so here. */
  readonly readersSubject: string;
  /** Processes ask each other for reports here, and answer. */
  readonly processesSubject: (token: string) => string;
  readonly eventSubject: (tenant: string, type: string) => string;
  readonly deliverySubject: (subscriptionId: string) => string;
  readonly logSubject: (tenant: string) => string;
  /** Undefined if it is not the subject of an event. Tenant and type are not validated, and may be empty. */
  readonly parseEventSubject: (subject: string) => { readonly tenant: string; readonly type: string } | undefined;
};

type StreamNames = { readonly stream: string; readonly consumer: string; readonly subjects: string };

const MAX_PREFIX_LENGTH = 32;
/** A stream of this prefix's subjects would take messages of an installation without a prefix. */
const OWN_TOKENS = ['events', 'deliveries', 'log', 'senders', 'readers', 'processes'];

/** Why the text cannot be a NATS_PREFIX; undefined if it can. Inboxes begin with an underscore, so no prefix does. */
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
    // Not below _INBOX: clients that may subscribe to `_INBOX.>`, as publishers usually may, would get our deliveries.
    inboxPrefix: `_INBOX_${name('webhooks')}`,
    allLogSubjects: `${root}log.*`,
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
 * Authenticates the messages that our processes send each other over NATS, which many others may publish to: without
 * it, a client that can publish to `deliveries.*` would have any payload signed and sent.
 */
export type MessageSeal = {
  /** The bytes to publish on this subject. */
  readonly seal: (subject: string, body: Uint8Array) => Buffer;
  /** The body; undefined if it was not sealed with one of the keys for this subject. */
  readonly open: (subject: string, sealed: Uint8Array) => Buffer | undefined;
};

const LABEL = 'webhooks-engine messages over NATS, version 1';
/** 32 bytes in base64url. */
const MAC_LENGTH = 43;

/**
 * HMAC-SHA-256 of subject and body, in a line before the body. Its key is derived from SECRETS_KEY (HKDF, RFC 5869), so
 * every process of an installation has it. The first key seals, and all of them open. Of the largest message (256 KiB),
 * 0.2 ms; of 1 KB, 3 µs.
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
    // No subject has a line break, so no other subject and body have the same bytes.
    Buffer.from(`${createHmac('sha256', key).update(`${subject}\n`).update(body).digest('base64url')}\n`);
}
