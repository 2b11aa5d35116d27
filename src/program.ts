import { join } from 'node:path';
import type { Logger } from 'pino';
import { type App, startApp } from './app.ts';
import { type Config, readConfig } from './config/config.ts';
import { createLog } from './lib/log.ts';
import { waitAtMost } from './lib/waiting.ts';
import { firstStopSignal } from './relaunch.ts';
import { divideWork } from './workers/divide-work.ts';

/** Maximum wait for the start when the program is stopped, in milliseconds. The program must end within 25 s. */
const STOP_DURING_START_MS = 24_000;

/**
 * Starts the engine, runs it until SIGTERM or SIGINT, drains it and stops it. Throws a StartError if a change by the
 * operator is needed before it can start.
 */
export async function runProgram(): Promise<void> {
  const config = readConfig();
  const { log, writeLines } = createLog({ level: config.logLevel, roles: divideWork(config).main.roles });
  const report = (text: string) => {
    log.info(text);
  };
  const stopping = firstStopSignal();
  const stopped = new AbortController();
  void stopping.then(() => {
    stopped.abort();
  });
  const starting = startApp(config, { log, report, signal: stopped.signal, writeLog: writeLines });
  const early = await Promise.race([starting.then(() => undefined), stopping]);
  if (early !== undefined) {
    log.info({ signal: early }, 'stopping before the start has completed');
    // The start completes its current step, such as a download or the creation of a database. If that stalls, the next start
    // repeats it.
    await waitAtMost(
      STOP_DURING_START_MS,
      starting.then((app) => app.stop()).catch(() => undefined),
    );
  } else await runUntil(stopping, { app: await starting, config, log });
  log.info('stopped');
}

type Running = { readonly app: App; readonly config: Config; readonly log: Logger };

async function runUntil(stopping: Promise<NodeJS.Signals>, { app, config, log }: Running): Promise<void> {
  log.info(
    {
      url: app.url,
      ...(config.roles.has('api') && { graphql: `${app.url}/graphql`, ...consoleOf(config, app.url) }),
      nats: app.natsServers.map(withoutPassword),
      dataDir: config.dataDir,
    },
    'listening',
  );
  try {
    // If the start fails, `ready` rejects and ends the race.
    const signal = await Promise.race([stopping, app.ready.then(() => stopping)]);
    log.info({ signal }, 'stopping');
  } finally {
    await app.stop();
  }
}

/** For the log: the URL of the console, and where the operator finds the key to sign in. */
function consoleOf({ isConsoleEnabled, publicUrl, adminApiKeys, dataDir }: Config, url: string) {
  if (!isConsoleEnabled) return {};
  const adminKey = adminApiKeys === undefined ? `in ${join(dataDir, 'admin-api-key')}` : 'the value of ADMIN_API_KEY';
  return { console: `${publicUrl ?? url}/console/`, adminKey };
}

function withoutPassword(server: string): string {
  return server.replace(/\/\/[^@/]*@/, '//');
}
