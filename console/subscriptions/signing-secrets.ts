type Secret = { readonly expiresAt?: string | null };

/** The secrets that still sign. The end of an overlap changes nothing that would be pushed. */
export function signingSecrets<Each extends Secret>(secrets: readonly Each[], nowMs: number): readonly Each[] {
  return secrets.filter(({ expiresAt }) => expiresAt == null || Date.parse(expiresAt) > nowMs);
}
