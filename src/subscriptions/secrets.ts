import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import type { Keys } from '../lib/keys.ts';
import type { Queryable } from '../postgres/client.ts';

/** Encrypts signing secrets and custom header values, so that access to the database does not reveal them. */
export type SecretBox = {
  /** Encrypts the text and binds the result to `context`, so that it cannot be moved to another row or tenant. */
  seal(plaintext: string, context: string): string;
  /** Decrypts a sealed value. Throws if it was sealed with an unknown key or another context, or was changed. */
  open(sealed: string, context: string): string;
  /** The start of every value that the current key sealed, and of no other. */
  readonly currentPrefix: string;
};

/** The context of a row of signing_secrets. */
export function secretContext(secretId: string, tenant: string): string {
  return `signing_secrets|${secretId}|${tenant}`;
}

/** The context of the custom headers of a row of webhook_subscriptions. */
export function headersContext(subscriptionId: string, tenant: string): string {
  return `webhook_subscriptions|${subscriptionId}|${tenant}|headers`;
}

const VERSION = 'v1';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * AES-256-GCM with a random nonce; `v1.<key id>.<nonce>.<ciphertext and tag>`, the last two in base64url. The key id is
 * the start of the key's SHA-256: it identifies the key, and does not help to guess 32 random bytes. The first key seals,
 * and all of them open.
 */
export function createSecretBox(...keys: Keys): SecretBox {
  const [current, ...older] = keys;
  const { id: keyId, key } = readKey(current);
  const known = new Map([current, ...older].map(readKey).map((each) => [each.id, each.key]));
  return {
    currentPrefix: `${VERSION}.${keyId}.`,
    seal: (plaintext, context) => {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(context));
      const sealed = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return [VERSION, keyId, nonce.toString('base64url'), sealed.toString('base64url')].join('.');
    },
    open: (sealed, context) => {
      const { sealedWith, nonce, ciphertext, tag } = parseSealed(sealed);
      const opener = known.get(sealedWith);
      if (opener === undefined) {
        const names = [...known.keys()].join(', ');
        throw new Error(`this value was encrypted with the key ${sealedWith}, but SECRETS_KEY is the key ${names}`);
      }
      const decipher = createDecipheriv('aes-256-gcm', opener, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(tag);
      try {
        return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8');
      } catch {
        throw new Error('this value was changed, or belongs to another row or tenant');
      }
    },
  };
}

/** Whether the text is 32 bytes in base64, as SECRETS_KEY must be. */
export function isSecretsKey(text: string): boolean {
  return /^[A-Za-z0-9+/]{43}=?$/.test(text) && Buffer.from(text, 'base64').length === 32;
}

function readKey(keyBase64: string): { readonly id: string; readonly key: Buffer } {
  if (!isSecretsKey(keyBase64)) throw new Error('the secrets key must be 32 bytes in base64');
  const key = Buffer.from(keyBase64, 'base64');
  return { id: createHash('sha256').update(key).digest('hex').slice(0, 8), key };
}

type Sealed = {
  readonly sealedWith: string;
  readonly nonce: Buffer;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
};

function parseSealed(sealed: string): Sealed {
  const [version, sealedWith, nonceText, sealedText, ...rest] = sealed.split('.');
  const nonce = Buffer.from(nonceText ?? '', 'base64url');
  const bytes = Buffer.from(sealedText ?? '', 'base64url');
  const whole = nonce.length === NONCE_BYTES && bytes.length >= TAG_BYTES && rest.length === 0;
  if (version !== VERSION || sealedWith === undefined || !whole) throw new Error('this is not an encrypted value');
  return { sealedWith, nonce, ciphertext: bytes.subarray(0, -TAG_BYTES), tag: bytes.subarray(-TAG_BYTES) };
}

type SealedSecret = { readonly id: string; readonly tenant: string; readonly encryptedSecret: string };

/** Returns a stored secret for testing the key; undefined if there is none. */
export async function newestSealedSecret(db: Queryable): Promise<SealedSecret | undefined> {
  const { rows } = await db.query<SealedSecret>(
    `SELECT k.id, s.tenant, k.encrypted_secret AS "encryptedSecret"
     FROM signing_secrets k JOIN webhook_subscriptions s ON s.id = k.subscription_id ORDER BY k.id DESC LIMIT 1`,
  );
  return rows[0];
}

export const SECRET_PREFIX = 'whsec_';

export function generateSigningSecret(): string {
  return SECRET_PREFIX + randomBytes(32).toString('base64');
}
