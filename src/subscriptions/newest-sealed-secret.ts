import type { Queryable } from '../postgres/transaction.ts';

export type SealedSecret = { readonly id: string; readonly tenant: string; readonly encryptedSecret: string };

/** Some stored secret, to try the key with; undefined if there is none. */
export async function newestSealedSecret(db: Queryable): Promise<SealedSecret | undefined> {
  const { rows } = await db.query<SealedSecret>(
    `SELECT k.id, s.tenant, k.encrypted_secret AS "encryptedSecret"
     FROM signing_secrets k JOIN webhook_subscriptions s ON s.id = k.subscription_id ORDER BY k.id DESC LIMIT 1`,
  );
  return rows[0];
}
