import pg from 'pg';
import { StartError } from '../lib/start-error.ts';
import type { Queryable } from './client.ts';
import {
  connectionConfig,
  type DatabaseUrls,
  openConnection,
  SESSION_LIMITS,
  schemaOf,
  sessionSql,
} from './connection.ts';

/** Time limit in milliseconds for the answer to a statement of the check. */
const CHECK_ANSWER_MS = 12_000;
const MIN_VERSION = 14;

/**
 * Runs `work` in a session with the engine's settings, after it has checked the server, and then closes the session. Throws a
 * StartError with instructions if the engine cannot use this Postgres, or the pooler in front of it. Changes no settings
 * before, because a pooler may reuse the sessions for other programs. Time limit of a statement: 60 s.
 */
export async function withCheckedServer<T>(
  { url, directUrl }: DatabaseUrls,
  work: (client: Queryable) => Promise<T>,
): Promise<T> {
  const isPooled = directUrl !== url;
  return withClient(directUrl, async (client) => {
    const first = answeringSoon(client);
    await withClient(directUrl, async (second) => {
      const clients = [first, answeringSoon(second)] as const;
      await checkSessions(clients, isPooled ? 'DATABASE_DIRECT_URL' : 'DATABASE_URL');
    });
    const facts = await readFacts(first, schemaOf(url));
    const problem = problemOf(facts, schemaOf(url));
    if (problem !== undefined) throw new StartError(problem);
    if (isPooled) await withClient(url, (pooled) => checkPooler([first, answeringSoon(pooled)]));
    await client.query(sessionSql(directUrl, SESSION_LIMITS));
    return work(client);
  });
}

type Clients = readonly [Queryable, Queryable];

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const { client, close } = await openConnection(connectionConfig(url, SESSION_LIMITS));
  try {
    return await work(client);
  } finally {
    await close();
  }
}

/** The client with the time limit of the check. */
function answeringSoon(client: pg.Client): Queryable {
  return {
    query: <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) => {
      // The types of pg lack this field of a query.
      const config: pg.QueryConfig & Pick<pg.ClientConfig, 'query_timeout'> = { text, query_timeout: CHECK_ANSWER_MS };
      return client.query<Row>(values === undefined ? config : { ...config, values });
    },
  };
}

/**
 * The client, 0 or 1, that sends each query of checkSessions(). The order is irregular, so that a pooler that alternates
 * between sessions does not always give a client the same session by accident.
 */
const CLIENT_ORDER = [0, 1, 1, 0, 0, 1, 0, 1, 1, 0] as const;

/** Throws if the two clients do not have one session each, which a pooler in transaction mode cannot guarantee. */
async function checkSessions(clients: Clients, variable: string): Promise<void> {
  const seen = new Set<string>();
  for (const client of CLIENT_ORDER) {
    const { rows } = await clients[client].query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    for (const { pid } of rows) seen.add(`${client} ${pid}`);
  }
  const pids = new Set([...seen].map((each) => each.split(' ')[1]));
  if (seen.size === 2 && pids.size === 2) return;
  throw new StartError(
    `${variable} leads to a pooler that gives each transaction another session (PgBouncer with pool_mode=transaction): ` +
      'set DATABASE_DIRECT_URL to the address of Postgres itself, which migrations, locks and notifications need',
  );
}

type Facts = {
  readonly database: string;
  readonly role: string;
  readonly version: number;
  readonly encoding: string;
  readonly replicationRole: string;
  readonly schemaExists: boolean;
  readonly mayCreate: boolean;
  /** Whether the engine's tables exist in the schema and belong to a role that this role is not a member of. */
  readonly hasOtherOwner: boolean;
  readonly isInstalled: boolean;
  /** Another schema that contains the engine's tables. */
  readonly otherSchema: string | null;
};

async function readFacts(client: Queryable, schema: string): Promise<Facts> {
  const { rows } = await client.query<Facts>(FACTS, [schema]);
  if (rows[0] === undefined) throw new Error('Postgres returned no row for the server check');
  return rows[0];
}

const FACTS = `
  WITH installed AS (
    SELECT c.relnamespace AS schema, c.relowner AS owner, n.nspname AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'uncounted_attempts' AND c.relkind = 'r'
  ), configured AS (
    SELECT (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1) AS schema
  )
  SELECT current_database() AS database, current_user AS role,
    current_setting('server_version_num')::integer / 10000 AS version,
    (SELECT pg_encoding_to_char(encoding) FROM pg_catalog.pg_database WHERE datname = current_database()) AS encoding,
    current_setting('session_replication_role') AS "replicationRole",
    schema IS NOT NULL AS "schemaExists",
    coalesce(has_schema_privilege(schema, 'USAGE') AND has_schema_privilege(schema, 'CREATE'), false) AS "mayCreate",
    EXISTS (SELECT FROM installed i WHERE i.schema = configured.schema AND NOT pg_has_role(i.owner, 'USAGE')) AS "hasOtherOwner",
    EXISTS (SELECT FROM installed i WHERE i.schema = configured.schema) AS "isInstalled",
    (SELECT min(name) FROM installed i WHERE i.schema IS DISTINCT FROM configured.schema) AS "otherSchema"
  FROM configured`;

function problemOf(facts: Facts, schema: string): string | undefined {
  const { database, role, version, encoding, otherSchema } = facts;
  const isElsewhere = !facts.isInstalled && otherSchema !== null;
  const problems: readonly (readonly [boolean, string])[] = [
    [version < MIN_VERSION, `Postgres ${version} is too old: ${MIN_VERSION} or newer is needed`],
    [
      encoding !== 'UTF8',
      `the database "${database}" has the encoding ${encoding}, not UTF8: name one in DATABASE_URL that was created with ` +
        "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
    ],
    [
      isElsewhere,
      `the database "${database}" has the engine's tables in the schema "${otherSchema}", not in "${schema}": add ` +
        `?schema=${otherSchema} to DATABASE_URL, or use a database of its own for a second installation`,
    ],
    [
      !facts.schemaExists,
      `the database "${database}" has no schema "${schema}": create it, or name another one with ?schema=… in DATABASE_URL`,
    ],
    [
      !facts.mayCreate,
      `the role "${role}" may not create tables in the schema "${schema}" of the database "${database}", which ` +
        `migrations and partitions need: GRANT USAGE, CREATE ON SCHEMA "${schema}" TO "${role}", or name a schema where ` +
        'it may with ?schema=… in DATABASE_URL',
    ],
    [
      facts.hasOtherOwner,
      `the tables in the schema "${schema}" do not belong to the role "${role}", which migrations and partitions need: ` +
        'use the role that owns them, or a member of it',
    ],
    [
      facts.replicationRole !== 'origin',
      `the role "${role}" has session_replication_role=${facts.replicationRole}, which turns off the engine's triggers: ` +
        `ALTER ROLE "${role}" RESET session_replication_role`,
    ],
  ];
  return problems.find(([applies]) => applies)?.[1];
}

/** Facts of the server and the database, the same for every connection. */
const IDENTITY = `SELECT extract(epoch FROM pg_postmaster_start_time()) || ' ' || oid AS identity
  FROM pg_catalog.pg_database WHERE datname = current_database()`;

async function checkPooler([direct, pooled]: Clients): Promise<void> {
  const identity = await readIdentity(direct);
  try {
    await pooled.query('BEGIN');
  } catch (error) {
    // The error of PgBouncer with pool_mode=statement.
    if (!(error instanceof pg.DatabaseError && error.code === '08P01')) throw error;
    throw new StartError('DATABASE_URL leads to a pooler without transactions: use pool_mode=transaction', {
      cause: error,
    });
  }
  if ((await readIdentity(pooled)) !== identity) {
    throw new StartError(
      'DATABASE_URL and DATABASE_DIRECT_URL lead to different databases: both must lead to the same',
    );
  }
  await pooled.query('COMMIT');
}

async function readIdentity(client: Queryable): Promise<string | undefined> {
  return (await client.query<{ identity: string }>(IDENTITY)).rows[0]?.identity;
}
