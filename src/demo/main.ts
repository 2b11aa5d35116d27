import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { print } from 'graphql';
import { createClient, type FormattedExecutionResult } from 'graphql-ws';
import { WebSocket } from 'ws';
import { type App, startApp } from '../app.ts';
import { type Config, readConfig } from '../config/config.ts';
import { ROLES } from '../config/parsers.ts';
import { lockDataDirectory } from '../embedded/data-directory.ts';
import type { DemoWatchSubscription } from '../generated/graphql/graphql.ts';
import { createLog } from '../lib/log.ts';
import { publishSampleEvents, SAMPLE_EVENTS } from './events.ts';
import { CREATE_CONSOLE_SESSION, CREATE_SUBSCRIPTION, WATCH } from './operations.ts';
import { type DemoReceiver, startDemoReceiver } from './receiver.ts';

const TENANT = 'demo';
const FAILS_FIRST = 'CONVERSATION_CREATED';
/** One attempt for each event, and a second one for the event whose first attempt fails. */
const EXPECTED_ATTEMPTS = SAMPLE_EVENTS.length + 1;
const DATA_DIR = join('.data', 'demo');
const GIVE_UP_MS = 60_000;

function say(text: string): void {
  console.log(text);
}

/** Shows the whole product, from an empty data folder to delivered webhooks, in a fresh clone of the repository. */
async function main({ open }: { readonly open: boolean }): Promise<void> {
  say('webhooks-engine demo: events published to NATS arrive as signed webhooks, and you watch it live.\n');
  await resetData();
  await shareBinaries();
  const interrupted = interruption();
  say('Starting an embedded Postgres and nats-server, and all roles…');
  const app = await startApp(demoConfig(), {
    // The log has errors only, because the demo prints its own progress.
    log: createLog({ level: 'error', roles: ROLES }).log,
    report: (text) => {
      say(`  ${text}`);
    },
  });
  const receiver = await startDemoReceiver({
    failsFirst: FAILS_FIRST,
    onRequest: (description) => {
      say(`  receiver:     ${description}`);
    },
  });
  try {
    await Promise.race([run(app, receiver), interrupted]);
    if (open) await stayOpen(app, interrupted);
  } finally {
    await receiver.close();
    await app.stop();
    await resetData();
  }
  say(NEXT_STEPS);
}

async function run(app: App, receiver: DemoReceiver): Promise<void> {
  await app.ready;
  say(
    `  GraphQL listens on ${app.url}/graphql, NATS on ${app.natsServers.map((server) => new URL(server).host).join()}`,
  );
  await deliver(app, receiver);
}

/** Rejects on Ctrl-C, or when the reader of the output has exited (`| head`), so that the demo stops its servers. */
function interruption(): Promise<never> {
  const rejected = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        reject(new Error(`interrupted by ${signal}`));
      });
    }
    process.stdout.on('error', reject);
  });
  // Avoids an unhandled rejection if the signal arrives before the promise is awaited.
  rejected.catch(() => undefined);
  return rejected;
}

/** Deletes data of earlier demos, except keys. Rejects while another demo uses the folder. */
async function resetData(): Promise<void> {
  const unlock = await lockDataDirectory(DATA_DIR);
  try {
    for (const part of ['postgres', 'nats']) await rm(join(DATA_DIR, part), { recursive: true, force: true });
  } finally {
    await unlock();
  }
}

/** A nats-server that `npm start` or the demo has downloaded into .data/bin is used by both. */
async function shareBinaries(): Promise<void> {
  await mkdir(join('.data', 'bin'), { recursive: true, mode: 0o700 });
  await symlink(join('..', 'bin'), join(DATA_DIR, 'bin')).catch((error: unknown) => {
    // The link exists, or a folder of an earlier version.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  });
}

/** Ignores the environment of the shell except PATH. */
function demoConfig(): Config {
  return readConfig({ PATH: process.env['PATH'], PORT: '0', DATA_DIR, WORKERS: '0', RETRY_SCHEDULE: '1s,2s,5s' });
}

async function deliver(app: App, receiver: DemoReceiver): Promise<void> {
  say(`Subscribing a receiver on ${receiver.url} to every event of tenant "${TENANT}"…`);
  const { createWebhookSubscription: created } = await request(app, CREATE_SUBSCRIPTION, {
    input: { tenant: TENANT, url: receiver.url, eventTypes: ['*'], description: 'the demo receiver' },
  });
  if (!('secret' in created)) throw new Error(`the subscription was refused: ${created.message}`);
  receiver.setSecret(created.secret);
  say(`  subscription ${created.subscription.id}, its signing secret is shown this once: ${created.secret}`);
  await watchWhile(app, async () => {
    say(`Publishing ${SAMPLE_EVENTS.map(({ type }) => type).join(', ')} to NATS…`);
    await publishSampleEvents(app.natsServers.join(), { tenant: TENANT, idPrefix: 'demo' });
  });
}

/** Prints a link to the console, and publishes the events again on each Enter, until Ctrl-C. */
async function stayOpen(app: App, interrupted: Promise<never>): Promise<void> {
  say(`The console shows these deliveries, and new ones live. This link opens it once, within a minute:
  ${await consoleLink(app)}
Later: ${app.url}/console/ with the key of "cat ${join(DATA_DIR, 'admin-api-key')}".
Press Enter to publish the events again, Ctrl-C to end.`);
  let rounds = 0;
  const publishAgain = () => {
    rounds += 1;
    publishSampleEvents(app.natsServers.join(), { tenant: TENANT, idPrefix: `demo-${rounds}` }).catch(
      (error: unknown) => {
        say(`  the events could not be published: ${String(error)}`);
      },
    );
  };
  process.stdin.on('data', publishAgain);
  // Ctrl-C is the regular end of this mode, not a failure.
  await interrupted.catch(() => undefined);
  process.stdin.destroy();
}

/** A one-time link to the live log, which needs no key. */
async function consoleLink(app: App): Promise<string> {
  const { createConsoleSession: created } = await request(app, CREATE_CONSOLE_SESSION, {});
  if ('message' in created) throw new Error(`there is no link to the console: ${created.message}`);
  return `${app.url}/console/as/${TENANT}/log#code=${created.code}`;
}

/** Watches the delivery log over graphql-ws while `publish` runs, and returns when every event is delivered. */
async function watchWhile(app: App, publish: () => Promise<void>): Promise<void> {
  say('Watching the delivery log over graphql-ws…');
  const client = createClient({
    url: `${app.url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${app.adminApiKey}` },
    retryAttempts: 0,
  });
  const giveUp = setTimeout(() => {
    client.terminate();
  }, GIVE_UP_MS);
  const progress = setInterval(() => {
    say('  …');
  }, 1_000);
  try {
    const log = client.iterate<DemoWatchSubscription>({ query: print(WATCH) });
    // The server handles messages of a socket in order, so after this response the subscription is registered.
    await client.iterate({ query: '{ __typename }' }).next();
    await publish();
    await printAttempts(log);
  } finally {
    clearTimeout(giveUp);
    clearInterval(progress);
    await client.dispose();
  }
}

type WatchResult = FormattedExecutionResult<DemoWatchSubscription, unknown>;

async function printAttempts(log: AsyncIterable<WatchResult>): Promise<void> {
  let attempts = 0;
  for await (const { data, errors } of log) {
    if (errors !== undefined) throw new Error(errors.map(({ message }) => message).join());
    if (data != null) say(`  delivery log: ${describe(data.deliveryLog)}`);
    attempts += 1;
    if (attempts === EXPECTED_ATTEMPTS) {
      say(`All ${SAMPLE_EVENTS.length} events are delivered, ${FAILS_FIRST} with its second attempt.\n`);
      return;
    }
  }
  throw new Error(`the live log ended after ${attempts} of ${EXPECTED_ATTEMPTS} attempts`);
}

function describe(attempt: DemoWatchSubscription['deliveryLog']): string {
  const { eventType, number, status, statusCode, failureReason, responseTimeMs, payloadSizeBytes } = attempt;
  const result = status === 'SUCCESS' ? status : `${status} (${failureReason ?? 'no reason'}), to be retried`;
  return `${eventType}, attempt ${number}: ${result}, HTTP ${statusCode ?? '-'}, ${responseTimeMs} ms, ${payloadSizeBytes} bytes`;
}

async function request<Data, Variables>(
  app: App,
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${app.adminApiKey}` },
    body: JSON.stringify({ query: print(document), variables }),
  });
  // `as`: the document's type is that of its response.
  const { data, errors } = (await response.json()) as { data?: Data; errors?: readonly { message: string }[] };
  if (data === undefined) throw new Error(errors?.map(({ message }) => message).join() ?? `HTTP ${response.status}`);
  return data;
}

const NEXT_STEPS = `What to try next:
  npm run demo -- --open        the demo again, which keeps running and shows the way to the console
  npm start                     the same server, until you stop it; GraphQL on http://127.0.0.1:4000/graphql
  cat .data/admin-api-key       the key to call it with: "authorization: Bearer <key>"
  cat .data/nats-url            where to publish, with user and password: subject events.<tenant>.<event type>, the body any JSON
  README.md                     a subscription, an event and a receiver of your own in five minutes`;

const [unknown] = process.argv.slice(2).filter((option) => option !== '--open');
try {
  if (unknown !== undefined) throw new Error(`the option ${unknown} is unknown; there is only --open`);
  // Keeps the demo running, so that the console can be opened.
  await main({ open: process.argv.includes('--open') });
} catch (error) {
  console.error(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
