import type { Queryable } from '../postgres/transaction.ts';

export type SubscriptionRow = {
  readonly id: string;
  readonly tenant: string;
  readonly url: string;
  /** False once it is inactive or deleted. */
  readonly isActive: boolean;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly rateLimitPerSecond: number | null;
  /** Its endpoint keeps failing: only probes are sent. */
  readonly isOpen: boolean;
  readonly encryptedHeaders: string | null;
  readonly headerNames: readonly string[];
  readonly version: number;
  /** The current secret first, then older ones that have not expired, the newest first. */
  readonly secrets: readonly {
    readonly id: string;
    readonly encryptedSecret: string;
    readonly expiresAt: string | null;
  }[];
};

/** What a sender needs to know of these subscriptions, by id; those that there are. */
export async function loadSubscriptions(
  db: Queryable,
  ids: readonly string[],
): Promise<ReadonlyMap<string, SubscriptionRow>> {
  const { rows } = await db.query<Omit<SubscriptionRow, 'version'> & { version: string }>(
    `SELECT s.id, s.tenant, s.url, s.is_active AND s.deleted_at IS NULL AS "isActive", s.timeout_ms AS "timeoutMs",
       s.max_in_flight AS "maxInFlight", s.rate_limit_per_second AS "rateLimitPerSecond",
       st.opened_at IS NOT NULL AS "isOpen",
       s.encrypted_headers AS "encryptedHeaders", s.header_names AS "headerNames", s.version,
       coalesce((
         SELECT json_agg(json_build_object('id', k.id, 'encryptedSecret', k.encrypted_secret, 'expiresAt', k.expires_at)
                         ORDER BY k.expires_at DESC NULLS FIRST, k.id DESC)
         FROM signing_secrets k WHERE k.subscription_id = s.id AND (k.expires_at IS NULL OR k.expires_at > now())
       ), '[]') AS secrets
     FROM webhook_subscriptions s JOIN subscription_states st ON st.subscription_id = s.id WHERE s.id = ANY ($1::uuid[])`,
    [ids],
  );
  return new Map(rows.map((row) => [row.id, { ...row, version: Number(row.version) }]));
}
