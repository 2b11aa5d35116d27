import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { unlessAborted } from './lib/loop.ts';
import { StartError } from './lib/start-error.ts';
import { checkServer } from './postgres/check-server.ts';
import type { Database } from './postgres/client.ts';
import { type DatabaseUrls, readClock, withConnection } from './postgres/connection.ts';
import { isTimeout } from './postgres/errors.ts';
import { migrate } from './postgres/migrate.ts';
import { createPartitions } from './retention/partitions.ts';
import { newestSealedSecret, type SecretBox, secretContext } from './subscriptions/secrets.ts';

// The same relative path from src/ and from dist/.
const MIGRATIONS = fileURLToPath(new URL('../prisma/migrations', import.meta.url));
const RETRY_MS = 1_000;

/** Started at most once; stop() may be called twice, or without start(). */
export type Worker = { start(): void; stop(): Promise<void> };

type StartUpServices = {
  readonly databaseUrls: DatabaseUrls;
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly log: Logger;
};

type StartUpOptions = {
  readonly workers: readonly Worker[];
  readonly retentionDays: number;
  /** Resolves when NATS is connected; undefined if every role of this process can work without it. */
  readonly natsReady: Promise<void> | undefined;
  /** Called with what the start waits for now. */
  readonly onWait: (what: string) => void;
  readonly signal: AbortSignal;
};

/**
 * Waits for Postgres as long as it takes, migrates, makes partitions, starts the workers and waits for NATS if a role needs
 * it. Throws a StartError if waiting would not help, and an abort error if the signal aborts first.
 */
export async function startUp(
  services: StartUpServices,
  { workers, retentionDays, natsReady, onWait, signal }: StartUpOptions,
): Promise<void> {
  onWait('Postgres and its migrations');
  await untilPossible(() => prepareDatabase(services, retentionDays), { log: services.log, signal });
  for (const worker of workers) worker.start();
  onWait('NATS');
  if (natsReady !== undefined) await unlessAborted(signal, natsReady);
  services.log.info('ready');
}

type Trying = Pick<StartUpServices, 'log'> & { readonly signal: AbortSignal };

async function untilPossible(work: () => Promise<unknown>, { log, signal }: Trying): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    try {
      await work();
      signal.throwIfAborted();
      return;
    } catch (error) {
      if (error instanceof StartError) throw error;
      signal.throwIfAborted();
      if (failures % 30 === 0) log.error({ err: error }, 'Postgres is not available yet; retrying every second');
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}

/** Migrates, makes partitions, and checks that the stored secrets can be opened. Returns the migrations that it applied. */
export async function prepareDatabase(services: StartUpServices, retentionDays: number): Promise<string[]> {
  const { databaseUrls, database, secretBox, log } = services;
  await checkServer(databaseUrls);
  const applied = await migrate(databaseUrls.directUrl, MIGRATIONS, { log });
  if (applied.length > 0) log.info({ migrations: applied }, 'database migrated');
  await database.clock.measure(database.pool);
  await makePartitions(services, retentionDays);
  const secret = await newestSealedSecret(database.pool);
  if (secret === undefined) return applied;
  try {
    secretBox.open(secret.encryptedSecret, secretContext(secret.id, secret.tenant));
  } catch (error) {
    throw new StartError(
      'SECRETS_KEY does not open the signing secrets in this database: set it to the key that they were stored with',
      { cause: error },
    );
  }
  return applied;
}

/** While others keep the tables in use, the retention job has to make them; what has no partition has the default one. */
async function makePartitions({ databaseUrls, log }: StartUpServices, retentionDays: number): Promise<void> {
  try {
    await withConnection(databaseUrls.directUrl, async (client) =>
      createPartitions(client, { nowMs: await readClock(client), retentionDays }),
    );
  } catch (error) {
    if (!isTimeout(error)) throw error;
    log.warn('the tables are in use, so their next partitions could not be made yet');
  }
}
