import { createHash } from 'node:crypto';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { atMost } from '../lib/collections.ts';
import { DomainError } from '../lib/errors.ts';
import { isTenant, type Viewer } from './viewer.ts';

/** The key for verifying JWTs: a shared secret (HS256), or the keys of a JWK Set. */
export type JwtConfig = { readonly secret: string } | { readonly jwksUrl: string };

/** A token with the claim `aud` must contain this audience. */
const AUDIENCE = 'webhooks-engine';
/** Maximum lifetime, because a JWT cannot be revoked. */
const MAX_LIFE_MS = 24 * 3_600_000;
/** Tolerance for clock differences. */
const TOLERANCE_S = 5;
/** Milliseconds after which the keys are fetched again. */
const MAX_KEYS_AGE_MS = 600_000;
/** Minimum interval between two requests while there are keys: after a failure, and for an unknown key id in a token. */
const COOLDOWN_MS = 30_000;
/** Minimum interval between two requests while there are no keys, or only keys that are too old. */
const RETRY_MS = 1_000;
const FETCH_TIMEOUT_MS = 3_000;
const MAX_LENGTH = 8_192;
const MAX_REMEMBERED = 10_000;
/** Time for which a verified token is cached and, as a consequence, accepted after its key was removed from the key set. */
const MAX_AGE_MS = 60_000;
/** Maximum age of the keys while the JWKS is unavailable: with the cached tokens they count for an hour. */
const MAX_STALE_MS = 3_600_000 - MAX_AGE_MS;
/** A token with several scopes has the first of this list. */
const SCOPES = ['TENANT_WRITE', 'TENANT_READ', 'PUBLISH'] as const;

/** Resolves with the viewer of a token, undefined if it is not valid. Rejects if the JWKS is unavailable. */
export function createVerifyJwt(config: JwtConfig, log: Logger): (token: string) => Promise<Viewer | undefined> {
  const verify = createVerify(config);
  const remembered = new LRUCache<string, Viewer>(atMost(MAX_REMEMBERED));
  return async (token) => {
    if (token.length > MAX_LENGTH || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return undefined;
    const hash = sha256(token);
    const known = remembered.get(hash);
    if (known !== undefined) return known;
    const viewer = await verifyOnce(verify, { token, log });
    if (viewer === undefined) return undefined;
    const ttl = Math.min(MAX_AGE_MS, (viewer.expiresAt?.getTime() ?? 0) - Date.now());
    if (ttl > 0) remembered.set(hash, viewer, { ttl });
    return viewer;
  };
}

type Verify = (token: string) => Promise<JWTPayload>;

/** The kind of the configured key determines the permitted algorithms; the token's header does not. */
function createVerify(config: JwtConfig): Verify {
  const common = { requiredClaims: ['exp', 'tenant', 'scope'], clockTolerance: TOLERANCE_S };
  if ('secret' in config) {
    const secret = new TextEncoder().encode(config.secret);
    return async (token) => (await jwtVerify(token, secret, { ...common, algorithms: ['HS256'] })).payload;
  }
  const keys = fetching(remoteKeys(config.jwksUrl));
  const algorithms = ['RS256', 'ES256', 'EdDSA'];
  return async (token) => (await jwtVerify(token, keys, { ...common, algorithms })).payload;
}

/**
 * The keys at a URL. jose's own remote key set measures ages by the system clock, which can be set back, sends a request
 * for every unknown key id while the JWKS is unavailable, and uses its last keys for ever. Rejects without usable keys.
 */
function remoteKeys(url: string): JWTVerifyGetKey {
  let last: { readonly keys: JWTVerifyGetKey; readonly fetchedAt: number } | undefined;
  let triedAt = Number.NEGATIVE_INFINITY;
  let problem: unknown;
  let running: Promise<void> | undefined;
  const usable = () =>
    last !== undefined && performance.now() < last.fetchedAt + MAX_STALE_MS ? last.keys : undefined;
  const fetchOnce = async () => {
    try {
      const keys = await fetchKeys(url);
      last = { keys, fetchedAt: performance.now() };
      problem = undefined;
    } catch (error) {
      problem = error;
    }
    triedAt = performance.now();
    running = undefined;
  };
  const intervalOf = () => {
    if (usable() === undefined) return RETRY_MS;
    return problem === undefined ? MAX_KEYS_AGE_MS : COOLDOWN_MS;
  };
  const refresh = async (intervalMs: number) => {
    if (performance.now() >= triedAt + intervalMs) await (running ??= fetchOnce());
  };
  return async (header, token) => {
    await refresh(intervalOf());
    const keys = usable();
    if (keys === undefined) throw problem;
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await refresh(COOLDOWN_MS);
      return (usable() ?? keys)(header, token);
    }
  };
}

async function fetchKeys(url: string): Promise<JWTVerifyGetKey> {
  const response = await fetch(url, {
    headers: { accept: 'application/json, application/jwk-set+json' },
    redirect: 'manual',
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (response.status !== 200) throw new Error(`the JWKS answered with the status ${response.status}`);
  // `as`: jose checks the shape.
  return createLocalJWKSet((await response.json()) as JSONWebKeySet);
}

type Verifying = { readonly token: string; readonly log: Logger };

async function verifyOnce(verify: Verify, { token, log }: Verifying): Promise<Viewer | undefined> {
  try {
    // The hash excludes the signature, which has several encodings: unused bits of base64url, the second form of ES256.
    return viewerOf(await verify(token), sha256(token.slice(0, token.lastIndexOf('.'))));
  } catch (error) {
    if (error instanceof KeysUnavailableError) {
      log.warn({ err: error.cause }, 'JWKS unavailable');
      throw error;
    }
    const reason = error instanceof errors.JOSEError ? error.message : 'it cannot be read';
    log.debug({ reason }, 'JWT refused');
    return undefined;
  }
}

class KeysUnavailableError extends DomainError {
  readonly code = 'SERVICE_UNAVAILABLE';
  override readonly cause: unknown;

  constructor(cause: unknown) {
    super('the keys of JWTs cannot be fetched now; try again in some seconds');
    this.cause = cause;
  }
}

/** Throws a KeysUnavailableError if the keys cannot be fetched; errors of the token are passed on. */
function fetching(keys: JWTVerifyGetKey): JWTVerifyGetKey {
  return async (header, token) => {
    try {
      return await keys(header, token);
    } catch (error) {
      const isAboutToken =
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported;
      if (isAboutToken) throw error;
      throw new KeysUnavailableError(error);
    }
  };
}

/** Throws a JOSEError if a claim is not valid. */
function viewerOf(payload: JWTPayload, signedHash: string): Viewer {
  const { tenant, aud, sub, exp = 0 } = payload;
  const scope = scopeOf(payload['scope']);
  if (typeof tenant !== 'string' || !isTenant(tenant))
    throw refused('the claim tenant is not the name of a tenant', payload);
  if (scope === undefined) throw refused(`the claim scope has none of ${SCOPES.join(', ')}`, payload);
  if (aud !== undefined && ![aud].flat().includes(AUDIENCE)) throw refused(`the claim aud is not ${AUDIENCE}`, payload);
  const expiresAt = new Date((exp + TOLERANCE_S) * 1_000);
  if (!(expiresAt.getTime() <= Date.now() + MAX_LIFE_MS + 2 * TOLERANCE_S * 1_000))
    throw refused('the claim exp is more than 24 hours ahead', payload);
  const credentialId = `jwt:${sub === undefined ? signedHash : sha256(`${tenant} ${sub}`)}`;
  return { tenant, scope, credentialId, expiresAt, subject: typeof sub === 'string' ? sub : undefined };
}

function refused(reason: string, payload: JWTPayload): Error {
  return new errors.JWTClaimValidationFailed(reason, payload);
}

/** RFC 8693, 4.2, defines words separated by spaces. Several identity providers send a list. */
function scopeOf(claim: unknown): (typeof SCOPES)[number] | undefined {
  const words = [claim].flat().flatMap((part) => (typeof part === 'string' ? part.split(' ') : []));
  return SCOPES.find((scope) => words.includes(scope));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
