import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { StartError } from './lib/start-error.ts';
import { unlessAborted, waitAtMost } from './lib/waiting.ts';
import type { NatsClient } from './nats/connection.ts';
import { withCheckedServer } from './postgres/check-server.ts';
import type { Database, Queryable } from './postgres/client.ts';
import type { DatabaseUrls } from './postgres/connection.ts';
import { isTimeout } from './postgres/errors.ts';
import { migrate, missingMigrations } from './postgres/migrate.ts';
import type { Retention } from './retention/partition-plan.ts';
import { createPartitions } from './retention/partitions.ts';
import { newestSealedSecret, type SecretBox, secretContext } from './subscriptions/secrets.ts';

// The relative path is the same from src/ and from dist/.
const MIGRATIONS = fileURLToPath(new URL('../prisma/migrations', import.meta.url));
const RETRY_MS = 1_000;

/** Background work of a process. start() is called at most once; stop() may be called twice, or without start(). */
export type Job = {
  start(): void;
  stop(): Promise<void>;
  /** The start of the process waits for this promise after it has called start(). */
  readonly ready?: Promise<void>;
};

type DatabaseServices = {
  readonly databaseUrls: DatabaseUrls;
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly log: Logger;
};

type StartUpServices = DatabaseServices & { readonly nats: Pick<NatsClient, 'listen' | 'start'> };

type StartUpOptions = {
  readonly jobs: readonly Job[];
  readonly retentionDays: number;
  /** Whether a role of this process cannot work without NATS. */
  readonly needsNats: boolean;
};

/** Maximum wait of stop() for a statement of the start, such as a migration, in milliseconds. */
const START_ENDS_WITHIN_MS = 5_000;

/** The start of a process: from its first connection until its jobs run. */
export class StartUp {
  readonly #services: StartUpServices;
  readonly #options: StartUpOptions;
  readonly #stopping = new AbortController();
  readonly #natsReady: Promise<void>;
  #ended: Promise<unknown> = Promise.resolve();
  #problems: readonly string[] = [];

  constructor(services: StartUpServices, options: StartUpOptions) {
    this.#services = services;
    this.#options = options;
    // The listener is registered before the client is started, so that it gets the first connection.
    this.#natsReady = new Promise((resolve) => {
      services.nats.listen({ onReady: resolve });
    });
  }

  /** The conditions that the start currently waits for. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /**
   * Waits for Postgres without a time limit, applies migrations, creates partitions, starts the jobs, and waits for NATS if
   * a role needs it. Rejects with a StartError if a retry would not help, and with an abort error if stop() is called
   * before.
   */
  begin(): Promise<void> {
    this.#services.nats.start();
    const ready = this.#run(this.#stopping.signal);
    // Avoids an unhandled rejection when no caller awaits it.
    this.#ended = ready.catch(() => undefined);
    return ready;
  }

  /** Aborts the start if it has not completed, and stops the jobs. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const stops = this.#options.jobs.map((job) => job.stop());
    await Promise.all([waitAtMost(START_ENDS_WITHIN_MS, this.#ended), ...stops]);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { jobs, retentionDays, needsNats } = this.#options;
    const { log } = this.#services;
    this.#waitFor('Postgres and its migrations');
    await retryUntilReady(() => prepareDatabase(this.#services, retentionDays), { log, signal });
    for (const job of jobs) job.start();
    if (needsNats) {
      this.#waitFor('NATS');
      await unlessAborted(signal, this.#natsReady);
    }
    this.#waitFor('the worker processes');
    for (const { ready } of jobs) if (ready !== undefined) await unlessAborted(signal, ready);
    this.#problems = [];
    log.info('ready');
  }

  #waitFor(what: string): void {
    this.#problems = [`still starting: waiting for ${what}`];
  }
}

type RetryDeps = Pick<StartUpServices, 'log'> & { readonly signal: AbortSignal };

/** Repeats `work` every second until it succeeds. Rejects with its StartError, or when the signal aborts. */
async function retryUntilReady(work: () => Promise<unknown>, { log, signal }: RetryDeps): Promise<void> {
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

/**
 * Checks the server, applies migrations, measures the clock, creates partitions, and checks that SECRETS_KEY decrypts the
 * newest stored secret. Returns the names of the applied migrations.
 */
export async function prepareDatabase(services: DatabaseServices, retentionDays: number): Promise<string[]> {
  const { databaseUrls, database, secretBox, log } = services;
  const applied = await withCheckedServer(databaseUrls, async (client) => {
    const missing = await missingMigrations(client, MIGRATIONS);
    const names = missing.length === 0 ? [] : await migrate(databaseUrls.directUrl, MIGRATIONS, { log });
    if (names.length > 0) log.info({ migrations: names }, 'database migrated');
    await database.clock.measure(database.pool);
    await createNextPartitions(client, { nowMs: database.clock.now(), retentionDays, log });
    return names;
  });
  const secret = await newestSealedSecret(database.pool);
  if (secret === undefined) return applied;
  try {
    secretBox.open(secret.encryptedSecret, secretContext(secret.id, secret.tenant));
  } catch (error) {
    throw new StartError(
      'SECRETS_KEY cannot decrypt the signing secrets in this database: set it to the key that encrypted them',
      { cause: error },
    );
  }
  return applied;
}

type PartitionDeps = Retention & { readonly log: Logger };

/**
 * Creates missing partitions. If other sessions keep the tables locked, the retention job creates them later; until then
 * the default partitions store the rows.
 */
async function createNextPartitions(client: Queryable, { log, ...retention }: PartitionDeps): Promise<void> {
  try {
    await createPartitions(client, retention);
  } catch (error) {
    if (!isTimeout(error)) throw error;
    log.warn('creating partitions timed out because the tables are in use; the retention job retries');
  }
}
