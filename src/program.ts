import { join } from 'node:path';
import type { Logger } from 'pino';
import { type App, startApp } from './app.ts';
import { type Config, readConfig } from './config/config.ts';
import { createLog } from './lib/log.ts';
import { atMost } from './lib/loop.ts';
import { firstStopSignal } from './relaunch.ts';
import { divideWork } from './workers/divide-work.ts';

/** Part of the 25 s in which the program ends. */
const STOP_DURING_START_MS = 24_000;

/**
 * Starts, stays up until SIGTERM or SIGINT, drains and stops. Throws a StartError if it cannot start until somebody changes
 * something.
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
    log.info({ signal: early }, 'stopping before the start is over');
    // A download or a new database that was begun is finished; one that hangs is left to the next start.
    await atMost(
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
    // `ready` is there for its rejection: the app cannot start.
    const signal = await Promise.race([stopping, app.ready.then(() => stopping)]);
    log.info({ signal }, 'stopping');
  } finally {
    await app.stop();
  }
}

/** Where a person opens the console, and where the key to sign in with is. */
function consoleOf({ isConsoleEnabled, publicUrl, adminApiKeys, dataDir }: Config, url: string) {
  if (!isConsoleEnabled) return {};
  const adminKey = adminApiKeys === undefined ? `in ${join(dataDir, 'admin-api-key')}` : 'the value of ADMIN_API_KEY';
  return { console: `${publicUrl ?? url}/console/`, adminKey };
}

function withoutPassword(server: string): string {
  return server.replace(/\/\/[^@/]*@/, '//');
}
