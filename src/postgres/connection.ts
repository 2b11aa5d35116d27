import { Socket } from 'node:net';
import pg from 'pg';
import { atMost } from '../lib/loop.ts';
import type { Queryable } from './client.ts';

/** A connection outside the pools, for what needs a session of its own. */
export type Connection = {
  readonly client: pg.Client;
  /** Says goodbye to the server for at most a second; one that hangs is left without. Never rejects. */
  readonly close: () => Promise<void>;
};

const CLOSE_MS = 1_000;
const CONNECT_MS = 5_000;
/** After this long without a byte the kernel asks ten times, once a second, whether the other side is still there. */
const KEEP_ALIVE_MS = 10_000;

/** Opens a connection; rejects after 5 s at most. */
export async function openConnection(config: pg.ClientConfig): Promise<Connection> {
  // Our own socket, because pg offers no way to close a connection without the server's help.
  const socket = new Socket();
  const client = new pg.Client({
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: 'webhooks-engine',
    ...config,
    stream: () => socket,
  });
  // A connection that breaks fails the statement; without a listener it would also end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    client,
    close: async () => {
      await atMost(CLOSE_MS, client.end());
      socket.destroy();
    },
  };
}

/** Limits of a session in milliseconds; 0: none. */
export type SessionLimits = {
  /** Postgres aborts a statement that takes longer. */
  readonly statementMs: number;
  /** Postgres ends a session whose open transaction is idle for longer. */
  readonly idleInTransactionMs: number;
};

/** Postgres's settings by name. */
export type SessionSettings = Readonly<Record<string, string>>;

type ConnectionLimits = Pick<SessionLimits, 'statementMs'> & {
  /** How long the client waits for an answer; by default a little longer than Postgres works on a statement. */
  readonly answerMs?: number;
  /** The application_name in Postgres. */
  readonly name?: string;
};

/** Connections in the pools of a process. */
export const DEFAULT_POOL_SIZE = 20;
/** For a server that does not answer at all, the client times out this long after Postgres should have. */
const ANSWER_MS = 2_000;
const DEFAULT_SCHEMA = 'public';

/**
 * Session settings that our statements, and the code that reads the answers, rely on. A server, a database or a role may have other
 * defaults. `default_transaction_read_only` is left as it is: operators set it to stop writes. A parameter that this
 * version of Postgres lacks is ignored.
 */
const SETTINGS = {
  // @prisma/adapter-pg ignores the offset of times that it reads, and sends times without one.
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
  // A generic plan for Prisma's statements does not know which partitions a range of ids leaves out.
  plan_cache_mode: 'auto',
  lock_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
};

/**
 * For sessions whose statements find a few rows by an index, however large the tables are. A plan made while a table was
 * empty must not scan it later, and a plan is made once: for all values of its parameters (ADR 23).
 */
export const PREPARED_PLANS: SessionSettings = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  jit: 'off',
};

/**
 * For sessions that read pages of the log. Of a tenant or a subscription, its index has the rows of a page in order, and a
 * part of each page of the table. At the default of 4, Postgres may read all tenants' rows in the order of their ids instead,
 * and drop most of them. Caches and SSDs read random pages as fast as others.
 */
export const PAGE_PLANS: SessionSettings = { random_page_cost: '1.1' };

/** The schema of our tables: the parameter `schema` of DATABASE_URL, or `public`, whatever `search_path` is. */
export function schemaOf(databaseUrl: string): string {
  const [, parameters = ''] = databaseUrl.split('?');
  return new URLSearchParams(parameters).get('schema') ?? DEFAULT_SCHEMA;
}

/** The URLs of Postgres: DATABASE_URL, and where what needs a session of its own connects. */
export type DatabaseUrls = {
  readonly url: string;
  /** Leads to Postgres itself; the same as `url` unless that leads to a pooler. Names the same schema. */
  readonly directUrl: string;
};

/** With DATABASE_DIRECT_URL, if it is set; only the schema of DATABASE_URL counts. */
export function databaseUrls(url: string, givenDirectUrl: string | undefined): DatabaseUrls {
  if (givenDirectUrl === undefined) return { url, directUrl: url };
  const [address = '', parameters = ''] = givenDirectUrl.split('?');
  const directParameters = new URLSearchParams(parameters);
  directParameters.set('schema', schemaOf(url));
  return { url, directUrl: `${address}?${directParameters.toString()}` };
}

/** How to connect. Nothing in it is a setting that a pooler could refuse: `sessionSql` makes those afterwards. */
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
  /** Settings in addition to those of every session. */
  readonly settings?: SessionSettings | undefined;
};

/** A statement that makes the settings ours, for the session or for the current transaction alone. */
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
        -- Commits have to survive a crash; modes that wait for more or fewer standbys are the operator's to choose.
        ('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' END)
    ) AS wanted (name, value)
    WHERE current_setting(name, true) <> value`;
}

/** Opens a connection of the caller's own, which closes it. */
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

const STATEMENT_MS = 60_000;

/**
 * Runs `work` on a connection of its own, whose session (locks, settings) ends with it, and whose statements may take
 * longer than the pool's.
 */
export async function withConnection<T>(url: string, work: (client: Queryable) => Promise<T>): Promise<T> {
  const { client, close } = await openSession(url, { statementMs: STATEMENT_MS, idleInTransactionMs: STATEMENT_MS });
  try {
    return await work(client);
  } finally {
    await close();
  }
}

/** Runs `work` in one transaction on this connection, rolled back if it throws. */
export async function inTransaction<T>(client: Queryable, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // A connection that broke has rolled back as well.
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** Postgres's time in milliseconds since 1970: what is old is not for each process's own clock to say. */
export async function readClock(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ now: number }>(
    'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
  );
  if (rows[0] === undefined) throw new Error('Postgres did not say the time');
  return rows[0].now;
}
