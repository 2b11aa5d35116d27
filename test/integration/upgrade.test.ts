import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { migrate } from '../../src/postgres/migrate.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { scrape } from '../support/metrics.ts';
import { startReceiver } from '../support/receiver.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { ADMIN_API_KEY, startTestApp, startTestServices, type TestApp } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

/** Maximum events that are published and not received. */
const MAX_OUTSTANDING = 50;

const cleanUps = createCleanUps();

/** A migration of the kind that CONTRIBUTING.md allows: it adds columns and enum values. */
const NEXT_MIGRATION = `
  ALTER TABLE deliveries ADD COLUMN next_release text NOT NULL DEFAULT 'x';
  ALTER TABLE webhook_subscriptions ADD COLUMN next_release integer;
  ALTER TYPE wait_reason ADD VALUE 'NEXT_RELEASE';
  ALTER TYPE failure_reason ADD VALUE 'NEXT_RELEASE';`;

/** Migrates like the next release. */
async function migrateToNext(databaseUrl: string): Promise<void> {
  const folder = await createTempFolder();
  cleanUps.push(() => folder.remove());
  await cp(join(import.meta.dirname, '../../prisma/migrations'), folder.path, { recursive: true });
  await mkdir(join(folder.path, '9999_next'));
  await writeFile(join(folder.path, '9999_next/migration.sql'), NEXT_MIGRATION);
  expect(await migrate(databaseUrl, folder.path)).toEqual(['9999_next']);
}

test('a rolling upgrade and downgrade lose nothing; an unknown wait reason stops no delivery', async () => {
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
      // Publish no faster than the receiver gets the events, or the test would wait for a backlog.
      await waitFor(() => published.length - received().size < MAX_OUTSTANDING, {
        what: 'deliveries',
      });
      const id = `e${published.length}`;
      await services.publish('events.acme.order.paid', '{}', { 'Nats-Msg-Id': id });
      published.push(id);
    }
  })();
  /** Waits until some events published from now on have arrived. */
  const moreArrive = async () => {
    const { length } = published;
    await waitFor(() => published.length > length + 20 && received().has(`e${length + 10}`), {
      what: 'further events',
    });
  };
  /** Waits until the process consumes: otherwise JetStream 2.9 keeps messages returned by the other one for the ack wait. */
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
  // Downgrade: the old release starts on the schema of the new one.
  const back = await startTestApp(services);
  cleanUps.push(() => back.stop());
  await takesPart(back);
  await next.stop();
  await moreArrive();
  end.abort();
  await publishing;
  // Earlier than the ack wait of a delivery, because the stopped processes have returned their messages.
  await waitFor(() => published.every((id) => received().has(id)), { what: 'every event' });

  // A value of the new release that the old one does not know.
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
