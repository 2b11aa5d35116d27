import type { ApiKeyScope } from '../generated/prisma/client.ts';
import type { Queryable } from '../postgres/transaction.ts';

export type FoundApiKey = {
  readonly id: string;
  readonly keyHash: Buffer;
  readonly scope: ApiKeyScope;
  readonly tenant: string | null;
};

/** Of these hashes, the keys that exist and are not revoked. */
export async function findApiKeys(db: Queryable, hashes: readonly Buffer[]): Promise<FoundApiKey[]> {
  const { rows } = await db.query<FoundApiKey>(
    `SELECT id, key_hash AS "keyHash", scope, tenant FROM api_keys
     WHERE key_hash = ANY($1::bytea[]) AND revoked_at IS NULL`,
    [hashes],
  );
  return rows;
}
