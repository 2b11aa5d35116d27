import { startApp } from './app.ts';
import { readConfig } from './config.ts';
import { createLog } from './log.ts';
import { firstStopSignal } from './relaunch.ts';

/**
 * Starts, stays up until SIGTERM or SIGINT, drains and stops. Throws a StartError if it cannot start until somebody changes
 * something.
 */
export async function runProgram(): Promise<void> {
  const config = readConfig();
  const log = createLog({ level: config.logLevel, roles: config.roles });
  const report = (text: string) => {
    log.info(text);
  };
  const stopping = firstStopSignal();
  const app = await startApp(config, { log, report });
  log.info(
    {
      url: app.url,
      ...(config.roles.has('api') && { graphql: `${app.url}/graphql` }),
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
  log.info('stopped');
}

function withoutPassword(server: string): string {
  return server.replace(/\/\/[^@/]*@/, '//');
}
