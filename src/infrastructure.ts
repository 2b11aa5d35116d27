import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config/config.ts';
import {
  checkAccess,
  lockDataDirectory,
  readOrCreateSecretFile,
  replaceSecretFile,
} from './embedded/data-directory.ts';
import { startEmbeddedNats } from './embedded/nats.ts';
import { findNatsServer } from './embedded/nats-binary.ts';
import { startEmbeddedPostgres } from './embedded/postgres.ts';
import type { Report } from './embedded/report.ts';
import { type Keys, splitKeys } from './lib/keys.ts';
import { explainStartFailure } from './lib/start-error.ts';
import { type DatabaseUrls, databaseUrls } from './postgres/connection.ts';

/** Postgres, NATS and the engine's secrets: configured or embedded servers, configured or generated secrets. */
export type Infrastructure = {
  readonly databaseUrls: DatabaseUrls;
  readonly natsServers: readonly string[];
  readonly adminApiKeys: Keys;
  readonly secretsKeys: Keys;
};

export type InfrastructureOptions = {
  readonly log: Logger;
  readonly report: Report;
  /** After it aborts, no further server is started. */
  readonly signal: AbortSignal;
  /** Called after each step with the function that undoes the step. */
  readonly onStop: (stop: () => Promise<void>) => void;
};

/**
 * Starts embedded servers in place of those that are not configured, and generates the secrets that are not configured.
 * Throws a StartError, or the signal's reason.
 */
export async function provisionInfrastructure(config: Config, options: InfrastructureOptions): Promise<Infrastructure> {
  try {
    return await prepare(config, options);
  } catch (error) {
    throw explainStartFailure(error, config.dataDir);
  }
}

async function prepare(config: Config, options: InfrastructureOptions): Promise<Infrastructure> {
  const { dataDir } = config;
  if (config.databaseUrl === undefined || config.natsServers === undefined) {
    options.onStop(await lockDataDirectory(dataDir));
    await checkAccess(dataDir);
    logEmbeddedServers(config, options.log);
  }
  // NATS first: only this step needs the network and fails without it, and then no other step has to be undone.
  const natsServers = config.natsServers ?? [await startNats(config, options)];
  const databaseUrl = config.databaseUrl ?? (await startPostgres(dataDir, options));
  return {
    databaseUrls: databaseUrls(databaseUrl, config.databaseDirectUrl),
    natsServers,
    adminApiKeys: config.adminApiKeys ?? (await storedKeys(dataDir, { name: 'admin-api-key', create: newAdminApiKey })),
    secretsKeys: config.secretsKeys ?? (await storedKeys(dataDir, { name: 'secrets-key', create: newSecretsKey })),
  };
}

/** Logs the embedded servers, so that an operator notices an unset variable before the machine and its data are lost. */
function logEmbeddedServers({ databaseUrl, natsServers, dataDir, isProduction }: Config, log: Logger): void {
  const servers = [
    ...(databaseUrl === undefined ? [{ variable: 'DATABASE_URL', server: 'Postgres' }] : []),
    ...(natsServers === undefined ? [{ variable: 'NATS_URL', server: 'nats-server' }] : []),
  ];
  for (const { variable, server } of servers) {
    const text = `${variable} is not set: using an embedded ${server}, with its data in DATA_DIR`;
    if (isProduction)
      log.warn({ dataDir }, `${text}; it has no replica and no backup, and other machines cannot use it`);
    else log.info({ dataDir }, text);
  }
}

async function storedSecret(
  dataDir: string,
  { name, create }: { name: string; create: () => string },
): Promise<string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  return readOrCreateSecretFile(join(dataDir, name), create);
}

async function storedKeys(dataDir: string, options: { name: string; create: () => string }): Promise<Keys> {
  return splitKeys(await storedSecret(dataDir, options));
}

async function startNats(
  { dataDir, searchPath, natsPort }: Config,
  { log, report, signal, onStop }: InfrastructureOptions,
): Promise<string> {
  const binary = await findNatsServer({ dataDir, searchPath, report, log });
  signal.throwIfAborted();
  const password = await storedSecret(dataDir, {
    name: 'nats-password',
    create: () => randomBytes(24).toString('hex'),
  });
  const nats = await startEmbeddedNats({ directory: join(dataDir, 'nats'), binary, password, port: natsPort, log });
  onStop(() => nats.stop());
  await replaceSecretFile(join(dataDir, 'nats-url'), nats.url);
  return nats.url;
}

async function startPostgres(dataDir: string, { log, report, signal, onStop }: InfrastructureOptions): Promise<string> {
  signal.throwIfAborted();
  const postgres = await startEmbeddedPostgres({ directory: join(dataDir, 'postgres'), log, report, signal });
  onStop(() => postgres.stop());
  return postgres.url;
}

function newAdminApiKey(): string {
  return `whk_${randomBytes(32).toString('hex')}`;
}

function newSecretsKey(): string {
  return randomBytes(32).toString('base64');
}
