import { createHash } from 'node:crypto';
import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
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
/** Minimum interval between two requests for a JWKS, regardless of the key ids in tokens. */
const COOLDOWN_MS = 30_000;
/** Minimum interval after a failed request, while there are no cached keys. */
const RETRY_MS = 1_000;
/** Maximum age of cached keys while the JWKS is unavailable. */
const MAX_STALE_MS = 3_600_000;
const MAX_LENGTH = 8_192;
const MAX_REMEMBERED = 10_000;
/** Time for which a verified token is cached and, as a consequence, accepted after its key was removed from the key set. */
const MAX_AGE_MS = 60_000;
/** A token with several scopes has the first of this list. */
const SCOPES = ['TENANT_WRITE', 'TENANT_READ', 'PUBLISH'] as const;

/** Resolves with the viewer of a token, undefined if it is not valid. Rejects if the JWKS is unavailable. */
export function createVerifyJwt(config: JwtConfig, log: Logger): (token: string) => Promise<Viewer | undefined> {
  const verify = createVerify(config);
  const remembered = new LRUCache<string, Viewer>({ max: MAX_REMEMBERED });
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

type SparingFetch = {
  readonly fetch: FetchImplementation;
  /** Milliseconds since the last attempt to fetch the keys, or since the start. */
  readonly ageMs: () => number;
};

type RemoteKeys = ReturnType<typeof createRemoteJWKSet>;

type Verify = (token: string) => Promise<JWTPayload>;

/** The kind of the configured key determines the permitted algorithms; the token's header does not. */
function createVerify(config: JwtConfig): Verify {
  const common = { requiredClaims: ['exp', 'tenant', 'scope'], clockTolerance: TOLERANCE_S };
  if ('secret' in config) {
    const secret = new TextEncoder().encode(config.secret);
    return async (token) => (await jwtVerify(token, secret, { ...common, algorithms: ['HS256'] })).payload;
  }
  const fetches = fetchSparingly();
  const keys = createRemoteJWKSet(new URL(config.jwksUrl), {
    timeoutDuration: 3_000,
    cooldownDuration: COOLDOWN_MS,
    // The age of the keys is measured by the monotonic clock instead.
    cacheMaxAge: Number.POSITIVE_INFINITY,
    [customFetch]: fetches.fetch,
  });
  const algorithms = ['RS256', 'ES256', 'EdDSA'];
  return async (token) =>
    (await jwtVerify(token, fetching(refreshing(keys, fetches)), { ...common, algorithms })).payload;
}

/**
 * jose applies its cooldown only after a successful fetch, so every invented key id would send a request to a failing JWKS.
 * Here a failed fetch returns the last key set unless it is too old, which starts the cooldown; without a key set, fetches
 * are RETRY_MS apart.
 */
function fetchSparingly(): SparingFetch {
  let failedAt = Number.NEGATIVE_INFINITY;
  let last: { readonly body: string; readonly fetchedAt: number } | undefined;
  let triedAt = performance.now();
  const sparingly: FetchImplementation = async (url, options) => {
    if (performance.now() < failedAt + RETRY_MS) throw new Error('the last request for the keys has just failed');
    try {
      const response = await fetch(url, options);
      if (response.status !== 200) throw new Error(`the JWKS answered with the status ${response.status}`);
      const body = await response.text();
      JSON.parse(body);
      triedAt = performance.now();
      last = { body, fetchedAt: triedAt };
    } catch (error) {
      triedAt = failedAt = performance.now();
      if (last === undefined || failedAt > last.fetchedAt + MAX_STALE_MS) throw error;
    }
    return new Response(last.body);
  };
  return { fetch: sparingly, ageMs: () => performance.now() - triedAt };
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

/**
 * Fetches the keys again when they are too old or do not contain a key. jose measures both with the system clock: after that
 * was set back, it would fetch nothing until the clock has caught up.
 */
function refreshing(keys: RemoteKeys, { ageMs }: SparingFetch): JWTVerifyGetKey {
  return async (header, token) => {
    if (ageMs() > MAX_KEYS_AGE_MS) await keys.reload();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || ageMs() < COOLDOWN_MS) throw error;
      await keys.reload();
      return keys(header, token);
    }
  };
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
