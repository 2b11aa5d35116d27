import process from 'node:process';
import { startApp } from './app.ts';
import { ConfigError, readConfig } from './config.ts';
import { createLog } from './log.ts';
import { StartError } from './start-error.ts';

/** The whole program: starts, stays up until SIGTERM or SIGINT, drains and stops. A second signal ends it at once. */
async function main(): Promise<void> {
  const config = readConfig();
  const log = createLog({ level: config.logLevel, roles: config.roles });
  const report = (text: string) => {
    log.info(text);
  };
  const stopping = firstSignal();
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

/** Afterwards a signal does what it does by default: ends the process. */
function firstSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals) => {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
      resolve(signal);
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  });
}

function withoutPassword(server: string): string {
  return server.replace(/\/\/[^@/]*@/, '//');
}

try {
  await main();
  // Whatever did not let go (a connection to a Postgres that hangs) does not keep the program up.
  process.exit(0);
} catch (error) {
  if (!(error instanceof ConfigError || error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`, () => process.exit(1));
}
