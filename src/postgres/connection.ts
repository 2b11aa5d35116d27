import { Socket } from 'node:net';
import pg from 'pg';
import { waitAtMost } from '../lib/waiting.ts';
import type { Queryable } from './client.ts';
import { TranslatedClient } from './translated.ts';

/** A connection outside the pools, for work that needs a session of its own. */
export type Connection = {
  readonly client: pg.Client;
  /** Ends the session, and closes the socket after at most 1 s even if Postgres is stalled. Never rejects. */
  readonly close: () => Promise<void>;
};

const CLOSE_MS = 1_000;
const CONNECT_MS = 5_000;
/** After this many milliseconds without traffic, the kernel sends up to ten TCP keep-alive probes, one per second. */
const KEEP_ALIVE_MS = 10_000;

/** Opens a connection; rejects after at most 5 s by default. */
export async function openConnection(config: pg.ClientConfig): Promise<Connection> {
  // An explicit socket, because pg cannot close a connection without an answer of the server.
  const socket = new Socket();
  const client = new TranslatedClient({
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: 'webhooks-engine',
    ...config,
    stream: () => socket,
  });
  try {
    await client.connect();
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    client,
    close: async () => {
      await waitAtMost(CLOSE_MS, client.end());
      socket.destroy();
    },
  };
}

/** Time limits of a session in milliseconds; 0: no limit. */
export type SessionLimits = {
  /** Postgres aborts a statement that runs for longer. */
  readonly statementMs: number;
  /** Postgres ends a session whose open transaction is idle for longer. */
  readonly idleInTransactionMs: number;
};

/** Values of Postgres's settings, by name. */
export type SessionSettings = Readonly<Record<string, string>>;

type ConnectionLimits = Pick<SessionLimits, 'statementMs'> & {
  /** The client's time limit for an answer, in milliseconds; by default `statementMs` plus ANSWER_MS. */
  readonly answerMs?: number;
  /** The application_name in Postgres. */
  readonly name?: string;
};

/** Maximum connections in the pools of a process. */
export const DEFAULT_POOL_SIZE = 20;
/** Milliseconds by which the client's time limit exceeds that of Postgres. It applies when Postgres does not answer. */
const ANSWER_MS = 2_000;
const DEFAULT_SCHEMA = 'public';

/**
 * Session settings that the engine's statements, and the code that reads their results, rely on. A server, a database or a
 * role may have other defaults. `default_transaction_read_only` is not set: operators set it to stop writes. A setting that
 * the version of Postgres does not have is ignored.
 */
const SETTINGS = {
  // @prisma/adapter-pg ignores the UTC offset of times that it reads, and sends times without an offset.
  timezone: 'UTC',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  array_nulls: 'on',
  transform_null_equals: 'off',
  quote_all_identifiers: 'off',
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  // With a generic plan, Postgres cannot exclude partitions by the id ranges of Prisma's statements when it plans.
  plan_cache_mode: 'auto',
  lock_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
};

/**
 * Settings of sessions whose statements find a few rows by an index, whatever the size of the tables is. A prepared
 * statement is planned once, for all values of its parameters (ADR 23). A plan made while a table was empty must not scan
 * the table later.
 */
export const PREPARED_PLANS: SessionSettings = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  jit: 'off',
};

/**
 * Settings of sessions that read pages of the delivery log. The index of a tenant or a subscription returns the rows of such
 * a page in order, but they are scattered over the pages of the table. With the default of 4, Postgres may instead read the
 * rows of all tenants in the order of their ids and discard most of them. Caches and SSDs read random pages as fast as
 * sequential ones.
 */
export const PAGE_PLANS: SessionSettings = { random_page_cost: '1.1' };

/** The schema of the engine's tables: the parameter `schema` of DATABASE_URL, by default `public`, never `search_path`. */
export function schemaOf(databaseUrl: string): string {
  const [, parameters = ''] = databaseUrl.split('?');
  return new URLSearchParams(parameters).get('schema') ?? DEFAULT_SCHEMA;
}

/** The URLs of Postgres. */
export type DatabaseUrls = {
  /** DATABASE_URL. May lead to a pooler. */
  readonly url: string;
  /**
   * For work that needs a session of its own: leads to Postgres itself. The same as `url` unless DATABASE_DIRECT_URL is set;
   * has the same schema.
   */
  readonly directUrl: string;
};

/** `givenDirectUrl`: DATABASE_DIRECT_URL, if it is set. Its parameter `schema` is replaced by that of DATABASE_URL. */
export function databaseUrls(url: string, givenDirectUrl: string | undefined): DatabaseUrls {
  if (givenDirectUrl === undefined) return { url, directUrl: url };
  const [address = '', parameters = ''] = givenDirectUrl.split('?');
  const directParameters = new URLSearchParams(parameters);
  directParameters.set('schema', schemaOf(url));
  return { url, directUrl: `${address}?${directParameters.toString()}` };
}

/** The configuration of a connection. It contains no session settings, which a pooler may reject: `sessionSql` sets them. */
export function connectionConfig(url: string, { statementMs, answerMs, name }: ConnectionLimits): pg.ClientConfig {
  const queryMs = answerMs ?? (statementMs > 0 ? statementMs + ANSWER_MS : undefined);
  return {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS,
    ...(queryMs !== undefined && { query_timeout: queryMs }),
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: name ?? 'webhooks-engine',
  };
}

type SessionOptions = SessionLimits & {
  /** Settings in addition to SETTINGS, or in place of them. */
  readonly settings?: SessionSettings | undefined;
};

/** A statement that sets the engine's settings, for the session or for the current transaction alone. */
export function sessionSql(
  url: string,
  { statementMs, idleInTransactionMs, settings }: SessionOptions,
  scope: 'session' | 'transaction' = 'session',
): string {
  const wanted = {
    ...SETTINGS,
    ...settings,
    search_path: pg.escapeIdentifier(schemaOf(url)),
    statement_timeout: `${statementMs}`,
    idle_in_transaction_session_timeout: `${idleInTransactionMs}`,
  };
  const rows = Object.entries(wanted).map(([name, value]) => `('${name}', ${pg.escapeLiteral(value)})`);
  return `SELECT set_config(name, value, ${scope === 'transaction'}) FROM (
      VALUES ${rows.join(', ')},
        -- Commits must survive a crash. The operator chooses among the modes that wait for more or fewer standbys.
        ('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' END)
    ) AS wanted (name, value)
    WHERE current_setting(name, true) <> value`;
}

/** Opens a connection with the engine's session settings. The caller must close it. */
export async function openSession(url: string, limits: SessionLimits & ConnectionLimits): Promise<Connection> {
  const connection = await openConnection(connectionConfig(url, limits));
  try {
    await connection.client.query(sessionSql(url, limits));
    return connection;
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** Limits of a session of its own, unless it needs others. */
export const SESSION_LIMITS: SessionLimits = { statementMs: 60_000, idleInTransactionMs: 60_000 };

/**
 * Runs `work` on a connection of its own, and then closes the connection, which ends the session with its locks and
 * settings. Time limit of a statement: 60 s.
 */
export async function withConnection<T>(url: string, work: (client: Queryable) => Promise<T>): Promise<T> {
  const { client, close } = await openSession(url, SESSION_LIMITS);
  try {
    return await work(client);
  } finally {
    await close();
  }
}

/** Runs `work` in one transaction on this connection, which is rolled back if `work` throws. */
export async function transactionOn<T>(client: Queryable, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // If the connection is broken, Postgres rolls back.
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** Postgres's time in milliseconds since 1970, which does not differ between processes as the clocks of machines do. */
export async function readClock(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ now: number }>(
    'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
  );
  if (rows[0] === undefined) throw new Error('Postgres returned no time');
  return rows[0].now;
}
