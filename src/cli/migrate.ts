import { readConfig } from '../config/config.ts';
import { createLog } from '../lib/log.ts';
import { createDatabase } from '../postgres/client.ts';
import { databaseUrls } from '../postgres/connection.ts';
import { prepareDatabase } from '../start-up.ts';
import { createSecretBox } from '../subscriptions/secrets.ts';
import { usageError } from './failure.ts';
import { countOf } from './output.ts';
import { usePostgres } from './postgres.ts';
import type { Run } from './run.ts';

export const migrateDatabase: Run<'migrate'> = async ({ env, out }) => {
  const config = readConfig(env);
  if (config.databaseUrl === undefined || config.secretsKeys === undefined) {
    throw usageError('Set DATABASE_URL: the embedded Postgres is migrated by webhooks-engine start.');
  }
  const { log } = createLog({ level: 'warn', roles: config.roles });
  const urls = databaseUrls(config.databaseUrl, config.databaseDirectUrl);
  const database = createDatabase({
    url: urls.url,
    behindPooler: urls.directUrl !== urls.url,
    poolSize: 2,
    onError: (error) => {
      log.warn({ err: error }, 'Postgres closed a connection');
    },
  });
  try {
    const services = { databaseUrls: urls, database, secretBox: createSecretBox(...config.secretsKeys), log };
    const applied = await usePostgres(() => prepareDatabase(services, config.retention.days));
    out.rows(applied.map((migration) => ({ migration, result: 'applied' })));
    out.note(applied.length === 0 ? 'The database is up to date.' : `${countOf(applied.length, 'migration')} applied.`);
    return 0;
  } finally {
    await database.close();
  }
};
