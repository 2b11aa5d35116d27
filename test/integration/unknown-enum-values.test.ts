import { afterAll, beforeAll, expect, test } from 'vitest';
import { knownFailureReason } from '../../src/postgres/new-values.ts';
import { type Api, attemptOf, deliveryOf, post, startApi, storeAttempt } from '../support/graphql-api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

const PAGES = `query ($from: DateTime!, $to: DateTime!) {
  deliveryLog { edges { node { status failureReason delivery { status waitingFor } } } }
  rejectedEvents { edges { node { reason message } } }
  deliveryStats(from: $from, to: $to, groupBy: FAILURE_REASON, bucket: MINUTE) { groups { key } }
}`;

test('values of enums that a newer version has written are shown as OTHER or null, on the same page as known ones', async () => {
  const delivery = await deliveryOf(api, 'acme');
  await storeAttempt(api.database, attemptOf(delivery, { status: 'FAILURE' }));
  const newer = await storeAttempt(api.database, attemptOf(delivery, { status: 'FAILURE', number: 2 }));
  const { readPool } = api.database;
  for (const type of ['failure_reason', 'rejection_reason', 'wait_reason']) {
    await readPool.query(`ALTER TYPE ${type} ADD VALUE 'NEXT_RELEASE'`);
  }
  await readPool.query(`UPDATE attempts SET failure_reason = 'NEXT_RELEASE' WHERE id = $1`, [newer.id]);
  await readPool.query(
    `UPDATE deliveries SET waiting_for = 'NEXT_RELEASE', enqueued_at = NULL, next_attempt_at = now() + interval '1 hour'
     WHERE id = $1`,
    [delivery.id],
  );
  await readPool.query(
    `INSERT INTO rejected_events (id, tenant, subject, reason, message, size_bytes)
     VALUES (gen_random_uuid(), 'acme', 'events.acme.a', 'NEXT_RELEASE', 'a new reason', 2)`,
  );
  const [from, to] = [new Date(Date.now() - 600_000), new Date(Date.now() + 60_000)];
  const body = JSON.stringify({ query: PAGES, variables: { from, to } });
  const { data, errors } = await post<Record<string, unknown>>(api.graphql, body);
  expect(errors).toBeUndefined();
  const waiting = { status: 'PENDING', waitingFor: null };
  expect(data).toMatchObject({
    deliveryLog: {
      edges: [
        { node: { status: 'FAILURE', failureReason: 'OTHER', delivery: waiting } },
        { node: { status: 'FAILURE', failureReason: 'HTTP_STATUS', delivery: waiting } },
      ],
    },
    deliveryStats: { groups: expect.arrayContaining([{ key: 'NEXT_RELEASE' }, { key: 'HTTP_STATUS' }]) as unknown },
    rejectedEvents: { edges: [{ node: { reason: 'OTHER', message: 'a new reason' } }] },
  });
});

test('an announced failure reason that this version does not know is shown as OTHER', () => {
  // `as`: a value that this version's type does not have.
  expect(knownFailureReason('NEXT_RELEASE' as 'TIMEOUT')).toBe('OTHER');
  expect(knownFailureReason('TIMEOUT')).toBe('TIMEOUT');
  expect(knownFailureReason(null)).toBeNull();
});
