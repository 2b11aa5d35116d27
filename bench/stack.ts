import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { connect, type NatsConnection } from 'nats';
import pg from 'pg';
import { pino } from 'pino';
import { startEmbeddedNats } from '../src/embedded/nats.ts';
import { findNatsServer } from '../src/embedded/nats-binary.ts';
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts';
import type { Report } from '../src/embedded/report.ts';
import { type Program, startProgram } from './program.ts';

/** Everything a measurement stands on, each part a process of its own. */
export type Stack = {
  readonly graphql: Program['graphql'];
  readonly databaseUrl: string;
  readonly natsUrl: string;
  readonly nats: NatsConnection;
  /** Asks Postgres directly. */
  readonly query: <T extends pg.QueryResultRow>(sql: string, values?: unknown[]) => Promise<T[]>;
  /** Has this stopped before what is there already. */
  onStop(stop: () => Promise<void>): void;
  /** Stops everything and deletes its data. */
  stop(): Promise<void>;
};

const KEPT_DATA = join(import.meta.dirname, '../.data');

export type StackOptions = {
  readonly report: Report;
  /** What is to be done with the database before the program starts. */
  readonly prepare?: (databaseUrl: string) => Promise<void>;
};

/** Postgres, nats-server and the program on free ports, their data in a temporary folder. */
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

async function startParts(
  onStop: (stop: () => Promise<unknown>) => void,
  { report, prepare }: StackOptions,
): Promise<Pick<Stack, 'graphql' | 'databaseUrl' | 'natsUrl' | 'nats' | 'query'>> {
  const log = pino({ level: 'warn' });
  const binary = await findNatsServer({ dataDir: KEPT_DATA, searchPath: process.env['PATH'] ?? '', log, report });
  const folder = await mkdtemp(join(tmpdir(), 'webhooks-engine-bench-'));
  onStop(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const postgres = await startEmbeddedPostgres({ directory: join(folder, 'postgres'), log, report });
  onStop(() => postgres.stop());
  const natsServer = await startEmbeddedNats({ directory: join(folder, 'nats'), binary, log });
  onStop(() => natsServer.stop());
  await prepare?.(postgres.url);
  const program = await startProgram({ databaseUrl: postgres.url, natsUrl: natsServer.url, directory: folder });
  onStop(() => program.stop());
  const nats = await connect({ servers: natsServer.url });
  onStop(() => nats.close());
  const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
  onStop(() => pool.end());
  return {
    graphql: (query, variables) => program.graphql(query, variables),
    databaseUrl: postgres.url,
    natsUrl: natsServer.url,
    nats,
    query: async <T extends pg.QueryResultRow>(sql: string, values: unknown[] = []) =>
      (await pool.query<T>(sql, values)).rows,
  };
}
