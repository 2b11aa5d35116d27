import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { createDeliveryStatements } from '../../src/delivery/sending/delivery-statements.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { expectCoreWorks } from '../support/core-flow.ts';
import { openTestDatabase } from '../support/database.ts';
import { lockTable } from '../support/table-lock.ts';
import { startTestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

it.each(['2', '3'])(
  'with DATABASE_POOL_SIZE=%s everything works, with at most the documented number of connections',
  async (size) => {
    const stack = await startTestStack(cleanUps, { env: { DATABASE_POOL_SIZE: size } });
    const receiver = await stack.receive((_request, index) => ({ status: index === 0 ? 503 : 200 }));
    await expectCoreWorks({ apps: [stack.app], publish: stack.publish, receiver });
    await stack.publishMany('a', 300);
    await receiver.waitForRequests(304);
    await stack.waitForDeliveries(303, `status = 'SUCCESS'`);
    const [row] = await stack.query<{ count: number }>(
      `SELECT count(*)::integer AS count FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'webhooks-engine%'`,
    );
    // One connection for notifications, one for retention.
    expect(row?.count).toBeLessThanOrEqual(Number(size) + 2);
  },
);

it('many cancelled, requeued or postponed deliveries, or those without data, delay others by one statement of each kind', async () => {
  const { database, url, close } = await openTestDatabase({ poolSize: 2 });
  cleanUps.push(close);
  const { pool } = database;
  const unlock = await lockTable(url, { table: 'deliveries' });
  const statements = createDeliveryStatements(database);
  const ids = Array.from({ length: 200 }, () => randomUUID());
  const work = ids.flatMap((id) => [
    statements.cancel(id),
    statements.requeueAtLimit({ deliveryId: id, enqueueCount: 1, reason: 'IN_FLIGHT_LIMIT' }),
    statements.delay({ deliveryId: id, enqueueCount: 1, reason: 'IN_FLIGHT_LIMIT' }),
    statements.requeue(id),
    statements.requeueLater(id),
    statements.loadData(id),
  ]);
  await waitFor(() => pool.waitingCount > 0, { what: 'statements that wait for a connection' });
  expect(pool.waitingCount).toBe(5);
  await unlock();
  await Promise.all(work);
});
