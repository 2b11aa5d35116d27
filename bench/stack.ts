import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { connect, type NatsConnection } from 'nats';
import pg from 'pg';
import { type Logger, pino } from 'pino';
import { startEmbeddedNats } from '../src/embedded/nats.ts';
import { findNatsServer } from '../src/embedded/nats-binary.ts';
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts';
import type { Report } from '../src/embedded/report.ts';
import { migrate } from '../src/postgres/migrate.ts';
import { MAIN, type Program, startProgram } from './program.ts';

/** The servers and the program of a measurement, each in a process of its own. */
export type Stack = Database & {
  readonly program: Program;
  readonly graphql: Program['graphql'];
  readonly natsUrl: string;
  readonly nats: NatsConnection;
  /** The folder of all data; processes are assigned to their stack by it. */
  readonly directory: string;
  /** Starts another process of the program, with these variables. When the stack stops, it stops this process too. */
  readonly startProgram: (env: Readonly<Record<string, string>>) => Promise<Program>;
  /** Queries Postgres directly. */
  readonly query: <T extends pg.QueryResultRow>(sql: string, values?: unknown[]) => Promise<T[]>;
  /** Registers a function that runs before those registered earlier when the stack stops. */
  onStop(stop: () => Promise<void>): void;
  /** Stops everything and deletes its data. */
  stop(): Promise<void>;
};

export type Database = {
  readonly databaseUrl: string;
  /** The key that encrypts the signing secrets in this database. */
  readonly secretsKey: string;
};

export type StackOptions = {
  readonly report: Report;
  /** Prepares the database before the program starts. */
  readonly prepare?: (database: Database) => Promise<void>;
  /** Options of the program's Node process. */
  readonly nodeOptions?: readonly string[];
  /** Default: this working tree's program. Another one migrates its database itself, after `prepare`. */
  readonly main?: string;
  /** Variables of the program, such as ROLES. */
  readonly env?: Readonly<Record<string, string>>;
};

const MIGRATIONS = join(import.meta.dirname, '../prisma/migrations');
const KEPT_DATA = join(import.meta.dirname, '../.data');

/** Starts Postgres, nats-server and the program on free ports, with their data in a temporary folder. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const undo of stops.splice(0).reverse()) await undo();
  };
  try {
    return { ...(await startParts((undo) => stops.push(undo), options)), onStop: (undo) => stops.push(undo), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Surroundings = { readonly log: Logger; readonly report: Report };

const databases = new Map<boolean, Promise<string>>();

/** Created once and copied for each measurement, because creating a database takes seconds. */
function emptyDatabase(surroundings: Surroundings, isMigrated: boolean): Promise<string> {
  const known = databases.get(isMigrated);
  if (known !== undefined) return known;
  const created = createEmptyDatabase(surroundings, isMigrated);
  databases.set(isMigrated, created);
  return created;
}

async function createEmptyDatabase(surroundings: Surroundings, isMigrated: boolean): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'webhooks-engine-bench-empty-'));
  process.once('exit', () => {
    rmSync(directory, { recursive: true, force: true });
  });
  const postgres = await startEmbeddedPostgres({ directory: join(directory, 'postgres'), ...surroundings });
  try {
    if (isMigrated) await migrate(postgres.url, MIGRATIONS);
  } finally {
    await postgres.stop();
  }
  return join(directory, 'postgres');
}

async function startParts(
  onStop: (stop: () => Promise<unknown>) => void,
  { report, prepare, nodeOptions = [], main = MAIN, env = {} }: StackOptions,
): Promise<Omit<Stack, 'onStop' | 'stop'>> {
  const log = pino({ level: 'warn' });
  const binary = await findNatsServer({ dataDir: KEPT_DATA, searchPath: process.env['PATH'] ?? '', log, report });
  const empty = await emptyDatabase({ log, report }, main === MAIN);
  const directory = await mkdtemp(join(tmpdir(), 'webhooks-engine-bench-'));
  onStop(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }));
  // Node's cp() would not keep the owner of the files.
  await promisify(execFile)('cp', ['-a', empty, join(directory, 'postgres')]);
  const postgres = await startEmbeddedPostgres({ directory: join(directory, 'postgres'), log, report });
  onStop(() => postgres.stop());
  const natsServer = await startEmbeddedNats({ directory: join(directory, 'nats'), binary, password: 'bench', log });
  onStop(() => natsServer.stop());
  const database = { databaseUrl: postgres.url, secretsKey: randomBytes(32).toString('base64') };
  await prepare?.(database);
  const startOne = async (variables: Readonly<Record<string, string>>) => {
    const options = { ...database, natsUrl: natsServer.url, directory, nodeOptions, main };
    const started = await startProgram({ ...options, env: variables });
    onStop(() => started.stop());
    return started;
  };
  const program = await startOne(env);
  const { host: servers, username: user, password: pass } = new URL(natsServer.url);
  const nats = await connect({ servers, user, pass });
  onStop(() => nats.close());
  const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
  onStop(() => pool.end());
  return {
    ...database,
    program,
    directory,
    startProgram: startOne,
    graphql: (query, variables) => program.graphql(query, variables),
    natsUrl: natsServer.url,
    nats,
    query: async <T extends pg.QueryResultRow>(sql: string, values: unknown[] = []) =>
      (await pool.query<T>(sql, values)).rows,
  };
}
