import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { findFreePort } from '../src/embedded/free-port.ts';
import { NODE_FLAGS } from '../src/relaunch.ts';
import { waitUntil } from './wait-until.ts';

export type ProgramOptions = {
  readonly databaseUrl: string;
  readonly secretsKey: string;
  readonly natsUrl: string;
  /** The folder of the program's log and data. */
  readonly directory: string;
  readonly nodeOptions: readonly string[];
  /** The compiled program. */
  readonly main: string;
  /** Variables in addition to those of the bench. */
  readonly env: Readonly<Record<string, string>>;
};

export type Program = {
  readonly url: string;
  readonly adminApiKey: string;
  /** Sends a query or mutation as the admin and returns its data. Throws on GraphQL errors. */
  readonly graphql: <T>(query: string, variables?: Record<string, unknown>) => Promise<T>;
  /** The current sum of a metric's samples over all labels, read from /metrics. */
  readonly metric: (name: string) => Promise<number>;
  stop(): Promise<void>;
};

/** The program of this working tree. */
export const MAIN = join(import.meta.dirname, '../dist/main.js');
let lastNumber = 0;

/** Starts a built program in a process of its own, with default settings except the allowed targets and `env`. */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const { databaseUrl, secretsKey, natsUrl, directory, nodeOptions, main } = options;
  lastNumber += 1;
  const port = await findFreePort();
  const adminApiKey = randomBytes(32).toString('hex');
  const env = {
    PATH: process.env['PATH'] ?? '',
    PORT: String(port),
    DATABASE_URL: databaseUrl,
    NATS_URL: natsUrl,
    DATA_DIR: directory,
    ADMIN_API_KEY: adminApiKey,
    SECRETS_KEY: secretsKey,
    EGRESS_ALLOW_CIDRS: '127.0.0.0/8',
    EGRESS_ALLOW_HTTP: 'true',
    ...options.env,
  };
  const logPath = join(directory, `program-${lastNumber}.log`);
  const log = await open(logPath, 'w');
  const child = spawn(process.execPath, [...nodeOptions, ...NODE_FLAGS, main], {
    env,
    cwd: directory,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  const ended = once(child, 'exit');
  await log.close();
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const stop = async () => {
    if (hasEnded()) return;
    child.kill('SIGTERM');
    await ended;
  };
  const url = `http://127.0.0.1:${port}`;
  const isReady = await waitUntil(async () => hasEnded() || (await answers(`${url}/health/ready`)), 30_000);
  if (!isReady || hasEnded()) {
    await stop();
    throw new Error(`the program did not start: ${(await readFile(logPath, 'utf8')).slice(-2_000)}`);
  }
  return {
    url,
    adminApiKey,
    graphql: (query, variables = {}) => post(url, { adminApiKey, query, variables }),
    metric: (name) => readMetric(url, { adminApiKey, name }),
    stop,
  };
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function readMetric(url: string, { adminApiKey, name }: Record<'adminApiKey' | 'name', string>): Promise<number> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminApiKey}` } });
  const samples = (await response.text()).matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'));
  return [...samples].reduce((sum, [, value]) => sum + Number(value), 0);
}

type Request = { readonly adminApiKey: string; readonly query: string; readonly variables: Record<string, unknown> };

async function post<T>(url: string, { adminApiKey, query, variables }: Request): Promise<T> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${adminApiKey}` },
    body: JSON.stringify({ query, variables }),
  });
  // The caller declares the type of the fields it selects.
  const { data, errors } = (await response.json()) as { data: T; errors?: unknown };
  if (errors !== undefined) throw new Error(`GraphQL errors: ${JSON.stringify(errors)}`);
  return data;
}
