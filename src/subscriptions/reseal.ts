import { LEAST_UUID } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import { headersContext, type SecretBox, secretContext } from './secrets.ts';

type Deps = { readonly db: Queryable; readonly secretBox: SecretBox };

export type ResealResult = {
  /** Number of values that were sealed again. */
  readonly resealed: number;
  /** Number of values that none of the keys opens. */
  readonly unreadable: number;
  /** Number of values not sealed with the current key: unreadable, or written by a process with another current key. */
  readonly remaining: number;
};

type Options = {
  /** Called after each batch with the total number of values sealed again. */
  readonly onProgress?: (resealed: number) => void;
  readonly batchSize?: number;
  /** Whether values are only opened, and none is sealed again. */
  readonly isDryRun?: boolean;
};

type Sealed = { readonly id: string; readonly tenant: string; readonly sealed: string };

/** A column with sealed values. */
type Column = {
  /** $1: only greater ids; $2: the prefix of values of the current key; $3: the number of rows. */
  readonly select: string;
  /** $1: ids; $2: old values, without which a row is left unchanged; $3: new values. Returns the changed rows. */
  readonly update: string;
  readonly count: string;
  readonly contextOf: (row: Sealed) => string;
};

const COLUMNS: readonly Column[] = [
  {
    select: `SELECT k.id, s.tenant, k.encrypted_secret AS sealed
      FROM signing_secrets k JOIN webhook_subscriptions s ON s.id = k.subscription_id
      WHERE k.id > $1 AND NOT starts_with(k.encrypted_secret, $2) ORDER BY k.id LIMIT $3`,
    update: `UPDATE signing_secrets k SET encrypted_secret = new.sealed
      FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new(id, old, sealed)
      WHERE k.id = new.id AND k.encrypted_secret = new.old RETURNING k.id`,
    count: `SELECT count(*)::int AS count FROM signing_secrets WHERE NOT starts_with(encrypted_secret, $1)`,
    contextOf: ({ id, tenant }) => secretContext(id, tenant),
  },
  {
    select: `SELECT id, tenant, encrypted_headers AS sealed FROM webhook_subscriptions
      WHERE id > $1 AND NOT starts_with(encrypted_headers, $2) ORDER BY id LIMIT $3`,
    update: `UPDATE webhook_subscriptions s SET encrypted_headers = new.sealed
      FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new(id, old, sealed)
      WHERE s.id = new.id AND s.encrypted_headers = new.old RETURNING s.id`,
    count: `SELECT count(*)::int AS count FROM webhook_subscriptions WHERE NOT starts_with(encrypted_headers, $1)`,
    contextOf: ({ id, tenant }) => headersContext(id, tenant),
  },
];

/** Maximum rows of one statement. Rows are locked only while their statement runs. */
const BATCH_SIZE = 500;

/**
 * Seals all values that another key of `secretBox` sealed with the current key, in batches, while the engine runs. A value
 * that another process changes in the meantime is left unchanged. May be interrupted and repeated.
 */
export async function resealSecrets(deps: Deps, options: Options = {}): Promise<ResealResult> {
  const { db, secretBox } = deps;
  let resealed = 0;
  let unreadable = 0;
  for (const column of COLUMNS) {
    for (let after = LEAST_UUID; ; ) {
      const rows = await selectBatch(deps, { column, after, ...options });
      if (rows.length === 0) break;
      const opened = rows.flatMap((row) => reopen(secretBox, { row, context: column.contextOf(row) }));
      unreadable += rows.length - opened.length;
      const values = [opened.map(({ id }) => id), opened.map(({ old }) => old), opened.map(({ sealed }) => sealed)];
      if (options.isDryRun !== true) resealed += (await db.query(column.update, values)).rows.length;
      options.onProgress?.(resealed);
      after = rows.at(-1)?.id ?? after;
    }
  }
  return { resealed, unreadable, remaining: await countRemaining(deps) };
}

type Batch = { readonly column: Column; readonly after: string; readonly batchSize?: number };

async function selectBatch(
  { db, secretBox }: Deps,
  { column, after, batchSize = BATCH_SIZE }: Batch,
): Promise<Sealed[]> {
  return (await db.query<Sealed>(column.select, [after, secretBox.currentPrefix, batchSize])).rows;
}

async function countRemaining({ db, secretBox }: Deps): Promise<number> {
  let remaining = 0;
  for (const { count } of COLUMNS) {
    const { rows } = await db.query<{ count: number }>(count, [secretBox.currentPrefix]);
    remaining += rows[0]?.count ?? 0;
  }
  return remaining;
}

type Resealed = { readonly id: string; readonly old: string; readonly sealed: string };

function reopen(secretBox: SecretBox, { row, context }: { row: Sealed; context: string }): Resealed[] {
  try {
    const sealed = secretBox.seal(secretBox.open(row.sealed, context), context);
    return [{ id: row.id, old: row.sealed, sealed }];
  } catch {
    return [];
  }
}
