import type { Queryable } from '../../postgres/transaction.ts';

/** Notes how many notices of its failing a subscription's tenant has been given, the last one now. */
export async function countNotice(
  db: Queryable,
  { subscriptionId, noticeCount }: { readonly subscriptionId: string; readonly noticeCount: number },
): Promise<void> {
  await db.query('UPDATE subscription_states SET notice_count = $2, noticed_at = now() WHERE subscription_id = $1', [
    subscriptionId,
    noticeCount,
  ]);
}
