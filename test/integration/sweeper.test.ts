import { afterEach, expect, it } from 'vitest';
import { type Scene, startScene } from '../support/scene.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Inserts deliveries that wait in Postgres and are due, of a subscription that nobody has to look after yet. */
async function insertWaiting({ query }: Scene, subscriptionId: string, count: number): Promise<void> {
  await query(
    `WITH event AS (
       INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
       SELECT gen_random_uuid(), 'acme', n, 'waiting', now(), '{}' FROM generate_series(1, $2) AS n
       RETURNING id
     )
     INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at)
     SELECT gen_random_uuid(), 'acme', $1, id, 'waiting', now() - interval '1 s' FROM event`,
    [subscriptionId, count],
  );
}

function wake({ query }: Scene, subscriptionId: string): Promise<unknown> {
  return query('UPDATE subscription_states SET next_due_at = now() WHERE subscription_id = $1', [subscriptionId]);
}

it('what is left of a subscription that was switched off is cancelled, holds up nobody, and is then left alone', async () => {
  const scene = await startScene(cleanUps);
  const receiver = await scene.receive();
  const off = await scene.app.subscribe({ url: receiver.url });
  const on = await scene.app.subscribe({ url: receiver.url });
  await insertWaiting(scene, off.id, 2_500);
  await insertWaiting(scene, on.id, 1);
  // Its circuit is open as well.
  await scene.query(
    `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, probe_at = now(), probe_wait_ms = 30000
     WHERE subscription_id = $1`,
    [off.id],
  );
  await scene.query('UPDATE webhook_subscriptions SET is_active = false WHERE id = $1', [off.id]);
  await wake(scene, off.id);
  await scene.waitForDeliveries(2_500, `status = 'CANCELLED'`);
  await wake(scene, on.id);
  await receiver.waitForRequests(1);
  const isLeftAlone = async () => {
    const { isBacklogged, isOpen, dueInMs } = await scene.stateOf(off.id);
    return !isBacklogged && !isOpen && (dueInMs ?? Number.POSITIVE_INFINITY) > 10_000;
  };
  await waitFor(isLeftAlone, { what: 'nothing left to look after' });
  expect(receiver.requests).toHaveLength(1);
});
