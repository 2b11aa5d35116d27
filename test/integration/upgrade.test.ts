import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { migrate } from '../../src/postgres/migrate.ts';
import { scrape } from '../support/metrics.ts';
import { startReceiver } from '../support/receiver.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { ADMIN_API_KEY, startTestApp, startTestServices, type TestApp } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

// Three starts, on a machine that may have more to do.
vi.setConfig({ testTimeout: 180_000 });

/** Events that are published and not received. */
const MAX_OUTSTANDING = 50;

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** The kind of migration that CONTRIBUTING.md allows: it adds columns and values of enums. */
const NEXT_MIGRATION = `
  ALTER TABLE deliveries ADD COLUMN next_release text NOT NULL DEFAULT 'x';
  ALTER TABLE webhook_subscriptions ADD COLUMN next_release integer;
  ALTER TYPE wait_reason ADD VALUE 'NEXT_RELEASE';
  ALTER TYPE failure_reason ADD VALUE 'NEXT_RELEASE';`;

/** Migrates as the next release does. */
async function migrateToNext(databaseUrl: string): Promise<void> {
  const folder = await createTempFolder();
  cleanUps.push(() => folder.remove());
  await cp(join(import.meta.dirname, '../../prisma/migrations'), folder.path, { recursive: true });
  await mkdir(join(folder.path, '9999_next'));
  await writeFile(join(folder.path, '9999_next/migration.sql'), NEXT_MIGRATION);
  expect(await migrate(databaseUrl, folder.path)).toEqual(['9999_next']);
}

test('upgrade and way back, one process after the other, lose nothing; an unknown wait reason stops no delivery', async () => {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  const receiver = await startReceiver();
  cleanUps.push(() => receiver.close());
  const before = await startTestApp(services);
  cleanUps.push(() => before.stop());
  const { id: subscriptionId } = await before.subscribe({ url: receiver.url });

  const published: string[] = [];
  const received = () => new Set(receiver.requests.map(({ headers }) => headers['webhook-id']));
  const end = new AbortController();
  const publishing = (async () => {
    while (!end.signal.aborted) {
      // Not faster than the receiver gets them, or the test waits for a backlog.
      await waitFor(() => published.length - received().size < MAX_OUTSTANDING, {
        what: 'deliveries',
        timeoutMs: 90_000,
      });
      const id = `e${published.length}`;
      await services.publish('events.acme.order.paid', '{}', { 'Nats-Msg-Id': id });
      published.push(id);
    }
  })();
  /** Traffic goes on: events that are published from now on arrive. */
  const moreArrive = async () => {
    const { length } = published;
    await waitFor(() => published.length > length + 20 && received().has(`e${length + 10}`), {
      what: 'further events',
    });
  };
  /** A process that consumes beside a stopping one. Before, JetStream 2.9 keeps what the other returns for the ack wait. */
  const takesPart = ({ url }: TestApp) =>
    waitFor(
      async () => {
        const { samples } = await scrape({ url, adminApiKey: ADMIN_API_KEY });
        const counted = samples.filter(({ name, value }) => name === 'webhooks_messages_received_total' && value > 0);
        return new Set(counted.map(({ labels }) => labels['consumer'])).size === 2;
      },
      { what: 'the new process to take events and deliveries' },
    );
  await moreArrive();
  await migrateToNext(services.databaseUrl);
  await moreArrive();
  // The new release starts beside the old one, which stops.
  const next = await startTestApp(services);
  cleanUps.push(() => next.stop());
  await takesPart(next);
  await before.stop();
  await moreArrive();
  // The way back: the old release starts on the schema of the new one.
  const back = await startTestApp(services);
  cleanUps.push(() => back.stop());
  await takesPart(back);
  await next.stop();
  await moreArrive();
  end.abort();
  await publishing;
  // Sooner than the ack wait of a delivery: the stopped processes have returned theirs.
  await waitFor(() => published.every((id) => received().has(id)), { what: 'every event', timeoutMs: 30_000 });

  // A value that the new release wrote, and the old one does not know.
  await services.query(
    `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, waiting_for, next_attempt_at)
     SELECT gen_random_uuid(), tenant, $1, id, 'next.release', 'NEXT_RELEASE', now() FROM events ORDER BY id LIMIT 1`,
    [subscriptionId],
  );
  await services.query(`UPDATE subscription_states SET next_sweep_at = now() WHERE subscription_id = $1`, [
    subscriptionId,
  ]);
  await waitFor(
    async () =>
      (await services.query(`SELECT FROM deliveries WHERE event_type = 'next.release' AND status = 'SUCCESS'`))
        .length === 1,
    { what: 'the delivery with an unknown wait reason' },
  );
});
