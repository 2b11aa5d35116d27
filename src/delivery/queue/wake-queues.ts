/**
 * The end of a statement that makes deliveries wait in Postgres: brings forward when the sweeper looks after their
 * subscriptions. `rows` names a CTE with a subscription_id and a next_attempt_at. The states are locked, whatever they
 * say: the sweeper, which locks them too, has then either seen these deliveries or is told of them here. And they are
 * locked in one order, so that no two statements wait for each other. `alsoSet` are further assignments.
 */
export function wakeQueues(rows: string, alsoSet: readonly string[] = []): string {
  return `, queue AS (
    SELECT subscription_id, min(next_attempt_at) AS due_at FROM ${rows} GROUP BY 1
  ), locked AS (
    SELECT subscription_id, queue.due_at FROM subscription_states st JOIN queue USING (subscription_id)
    ORDER BY subscription_id FOR UPDATE OF st
  )
  UPDATE subscription_states st SET ${['next_due_at = least(st.next_due_at, locked.due_at)', ...alsoSet].join(', ')}
  FROM locked WHERE st.subscription_id = locked.subscription_id`;
}
