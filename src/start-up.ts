import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { checkServer } from './postgres/check-server.ts';
import { isTimeout } from './postgres/errors.ts';
import { migrate } from './postgres/migrate.ts';
import { newestSealedSecret } from './subscriptions/newest-sealed-secret.ts';
import { createPartitions } from './retention/create-partitions.ts';
import { readClock } from './postgres/read-clock.ts';
import { withConnection } from './postgres/with-connection.ts';
import { secretContext } from './subscriptions/secret-box.ts';
import { StartError } from './lib/start-error.ts';
import type { Worker, WorkerServices } from './workers.ts';

// The same relative path from src/ and from dist/.
const MIGRATIONS = fileURLToPath(new URL('../prisma/migrations', import.meta.url));
const RETRY_MS = 1_000;

export type StartUpOptions = {
  readonly workers: readonly Worker[];
  readonly retentionDays: number;
  /** Whether a role of this process cannot work without NATS. */
  readonly needsNats: boolean;
  /** Called with what the start waits for now. */
  readonly onWait: (what: string) => void;
  readonly signal: AbortSignal;
};

/**
 * Waits for Postgres as long as it takes, migrates, makes partitions, starts the workers and waits for NATS if a role needs it. Throws a StartError if
 * waiting would not help, and an abort error if the signal aborts first.
 */
export async function startUp(
  services: WorkerServices,
  { workers, retentionDays, needsNats, onWait, signal }: StartUpOptions,
): Promise<void> {
  onWait('Postgres and its migrations');
  await untilPossible(() => prepareDatabase(services, retentionDays), { log: services.log, signal });
  for (const worker of workers) worker.start();
  onWait('NATS');
  while (needsNats && !services.bus.connected) await delay(RETRY_MS, undefined, { signal });
  services.log.info('ready');
}

type Trying = Pick<WorkerServices, 'log'> & { readonly signal: AbortSignal };

async function untilPossible(work: () => Promise<void>, { log, signal }: Trying): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    try {
      await work();
      signal.throwIfAborted();
      return;
    } catch (error) {
      if (error instanceof StartError) throw error;
      signal.throwIfAborted();
      if (failures % 30 === 0) log.error({ err: error }, 'Postgres is not to be used yet; trying again every second');
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}

/** Migrates, makes partitions, and makes sure that what is sealed in the database can be opened. */
async function prepareDatabase(services: WorkerServices, retentionDays: number): Promise<void> {
  const { databaseUrls, database, secretBox, log } = services;
  await checkServer(databaseUrls);
  const applied = await migrate(databaseUrls.directUrl, MIGRATIONS, { log });
  if (applied.length > 0) log.info({ migrations: applied }, 'database migrated');
  await database.clock.measure(database.pool);
  await makePartitions(services, retentionDays);
  const secret = await newestSealedSecret(database.pool);
  if (secret === undefined) return;
  try {
    secretBox.open(secret.encryptedSecret, secretContext(secret.id, secret.tenant));
  } catch (error) {
    throw new StartError(
      'SECRETS_KEY does not open the signing secrets in this database: set it to the key that they were stored with',
      { cause: error },
    );
  }
}

/** While others keep the tables in use, the retention job has to make them; what has no partition has the default one. */
async function makePartitions({ databaseUrls, log }: WorkerServices, retentionDays: number): Promise<void> {
  try {
    await withConnection(databaseUrls.directUrl, async (client) =>
      createPartitions(client, { nowMs: await readClock(client), retentionDays }),
    );
  } catch (error) {
    if (!isTimeout(error)) throw error;
    log.warn('the tables are in use, so their next partitions could not be made yet');
  }
}
