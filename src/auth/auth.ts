import { createHash, timingSafeEqual } from 'node:crypto';
import { isApiKey } from './api-key-secret.ts';
import type { Viewer } from './viewer.ts';

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
  const isAdmin = isOneOf([adminApiKey]);
  return async (authorization) => {
    if (isAdmin(authorization)) return ADMIN;
    const credentials = credentialsOf(authorization);
    return isApiKey(credentials) ? findApiKey(credentials) : verifyJwt?.(credentials);
  };
}

/** Whether an `Authorization` header's value is one of these secrets. */
export function isOneOf(secrets: readonly string[]): (authorization: string | undefined) => boolean {
  const expected = secrets.map(sha256);
  return (authorization) => {
    const given = sha256(credentialsOf(authorization));
    // Digests: of equal length, and the time it takes tells nothing about the secret.
    return expected.some((digest) => timingSafeEqual(digest, given));
  };
}

function credentialsOf(authorization: string | undefined): string {
  return authorization?.replace(/^bearer +/i, '').trim() ?? '';
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
