import { createHash, timingSafeEqual } from 'node:crypto';
import { isApiKey } from '../schema/api-key-secret.ts';
import type { Viewer } from '../schema/viewer.ts';

/**
 * Who an `Authorization` header's value belongs to; undefined for nobody, whatever the reason. Rejects where that cannot
 * be found out right now.
 */
export type Authenticate = (authorization: string | undefined) => Promise<Viewer | undefined>;

export type Verifiers = {
  readonly adminApiKey: string;
  readonly findApiKey: (key: string) => Promise<Viewer | undefined>;
  /** Undefined: JWTs are refused. */
  readonly verifyJwt: ((token: string) => Promise<Viewer | undefined>) | undefined;
};

const ADMIN: Viewer = { scope: 'ADMIN', credentialId: 'admin' };

export function createAuthenticate({ adminApiKey, findApiKey, verifyJwt }: Verifiers): Authenticate {
  const expected = sha256(adminApiKey);
  return async (authorization) => {
    const credentials = authorization?.replace(/^bearer +/i, '').trim() ?? '';
    // Digests: of equal length, and the time it takes tells nothing about the key.
    if (timingSafeEqual(sha256(credentials), expected)) return ADMIN;
    return isApiKey(credentials) ? findApiKey(credentials) : verifyJwt?.(credentials);
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
