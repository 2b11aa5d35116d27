import { readConfig } from '../config/config.ts';
import { databaseUrls, withConnection } from '../postgres/connection.ts';
import { resealSecrets } from '../subscriptions/reseal.ts';
import { createSecretBox } from '../subscriptions/secrets.ts';
import { usageError } from './failure.ts';
import { countOf } from './output.ts';
import { usePostgres } from './postgres.ts';
import type { Run } from './run.ts';

export const reseal: Run<'reseal'> = async ({ env, out }) => {
  const { databaseUrl, databaseDirectUrl, secretsKeys } = readConfig(env);
  if (databaseUrl === undefined || secretsKeys === undefined) {
    throw usageError('Set DATABASE_URL and SECRETS_KEY to the values of the engine.');
  }
  const { directUrl } = databaseUrls(databaseUrl, databaseDirectUrl);
  const secretBox = createSecretBox(...secretsKeys);
  const onProgress = (resealed: number) => {
    out.note(`${countOf(resealed, 'value')} sealed again`);
  };
  const result = await usePostgres(() =>
    withConnection(directUrl, (db) => resealSecrets({ db, secretBox }, { onProgress })),
  );
  out.rows([result]);
  if (result.unreadable > 0) {
    out.note(`None of the keys opens ${countOf(result.unreadable, 'value')}: add the missing key to SECRETS_KEY.`);
    return 1;
  }
  if (result.remaining > 0) {
    out.note('A process still seals with another key: start all of them with the new key first, and run this again.');
    return 1;
  }
  out.note('Every value is sealed with the first key: the other keys can be removed from SECRETS_KEY.');
  return 0;
};
