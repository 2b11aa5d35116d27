import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSecretBox, isSecretsKey } from '../../src/subscriptions/secrets.ts';

const key = randomBytes(32).toString('base64');
const box = createSecretBox(key);
const secret = 'whsec_geheim 🎉';

describe('createSecretBox', () => {
  it('opens its own sealed secrets in the same context', () => {
    const sealed = box.seal(secret, 'signing_secrets|1|acme');
    expect(createSecretBox(key).open(sealed, 'signing_secrets|1|acme')).toBe(secret);
    expect(sealed).toMatch(/^v1\.[0-9a-f]{8}\.[\w-]{16}\.[\w-]+$/);
    expect(Buffer.from(sealed).includes(Buffer.from(secret))).toBe(false);
  });

  it('seals the same text differently each time', () => {
    expect(box.seal(secret, 'c')).not.toBe(box.seal(secret, 'c'));
  });

  it('seals the empty text', () => {
    expect(box.open(box.seal('', 'c'), 'c')).toBe('');
  });

  it.each(['signing_secrets|2|acme', 'signing_secrets|1|globex', ''])('does not open in the context %j', (context) => {
    const sealed = box.seal(secret, 'signing_secrets|1|acme');
    expect(() => box.open(sealed, context)).toThrow('belongs to another row or tenant');
  });

  it('does not open a sealed secret with any changed byte', () => {
    const sealed = box.seal(secret, 'c');
    const [version, keyId, nonce, ciphertext] = sealed.split('.');
    const bytes = Buffer.from(ciphertext ?? '', 'base64url');
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
      expect(() => box.open([version, keyId, nonce, changed.toString('base64url')].join('.'), 'c')).toThrow('changed');
    }
    const otherNonce = randomBytes(12).toString('base64url');
    expect(() => box.open([version, keyId, otherNonce, ciphertext].join('.'), 'c')).toThrow('changed');
    const shortTag = bytes.subarray(0, -1).toString('base64url');
    expect(() => box.open([version, keyId, nonce, shortTag].join('.'), 'c')).toThrow('changed');
  });

  it('names the id of the missing key, and neither the keys nor the secret', () => {
    const otherKey = randomBytes(32).toString('base64');
    const sealed = box.seal(secret, 'c');
    const keyId = sealed.split('.')[1] ?? 'none';
    expect(() => createSecretBox(otherKey).open(sealed, 'c')).toThrow(
      `encrypted with the key ${keyId}, but SECRETS_KEY`,
    );
  });

  it('seals with the first key, and opens with every key', () => {
    const newKey = randomBytes(32).toString('base64');
    const rotating = createSecretBox(newKey, key);
    const [before, after] = [box.seal(secret, 'c'), rotating.seal(secret, 'c')];
    expect([rotating.open(before, 'c'), createSecretBox(newKey).open(after, 'c')]).toEqual([secret, secret]);
    expect(() => box.open(after, 'c')).toThrow('encrypted with the key');
    expect([before.startsWith(rotating.currentPrefix), after.startsWith(rotating.currentPrefix)]).toEqual([
      false,
      true,
    ]);
  });

  it.each(['', 'v1', 'v2.00000000.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA', 'v1.00000000.AAAA.AAAA', secret])(
    'rejects %j, which is not a sealed secret',
    (text) => {
      expect(() => box.open(text, 'c')).toThrow('not an encrypted value');
    },
  );

  it('rejects a key that is not 32 bytes, without repeating it', () => {
    expect(() => createSecretBox('c2hvcnQ=')).toThrow(/^the secrets key must be 32 bytes in base64$/);
  });
});

describe('isSecretsKey', () => {
  it.each([
    [key, true],
    [key.slice(0, -1), true],
    [randomBytes(31).toString('base64'), false],
    [randomBytes(33).toString('base64'), false],
    [randomBytes(32).toString('hex'), false],
    [`${key}\n`, false],
    ['', false],
  ])('%j → %s', (text, valid) => {
    expect(isSecretsKey(text)).toBe(valid);
  });
});
