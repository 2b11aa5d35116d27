import { createHash, randomBytes } from 'node:crypto';

const BYTES = 32;
/** As many digits as 32 bytes can take in base 62. */
const DIGITS = 43;
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PATTERN = new RegExp(`^whk_[0-9A-Za-z]{${DIGITS}}$`);

/** `whk_`, by which scanners for leaked secrets find it, and 256 random bits, which nobody guesses. */
export function generateApiKey(): string {
  let rest = BigInt(`0x${randomBytes(BYTES).toString('hex')}`);
  let digits = '';
  for (let place = 0; place < DIGITS; place += 1) {
    digits = ALPHABET.charAt(Number(rest % 62n)) + digits;
    rest /= 62n;
  }
  return `whk_${digits}`;
}

export function isApiKey(text: string): boolean {
  return PATTERN.test(text);
}

/** All that is kept of a key. A quick hash will do: there are no likely keys to try. */
export function hashApiKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
