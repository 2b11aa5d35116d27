import process from 'node:process';
import { startApp } from './app.ts';
import { ConfigError, readConfig } from './config.ts';
import { createLog } from './log.ts';

/** The whole program: starts, stays up until SIGTERM or SIGINT, drains and stops. A second signal ends it at once. */
async function main(): Promise<void> {
  const config = readConfig();
  const log = createLog(config.logLevel);
  const report = (text: string) => {
    log.info(text);
  };
  const stopping = new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  const app = await startApp(config, { log, report });
  log.info(
    { url: `${app.url}/graphql`, nats: app.natsServers.map(withoutPassword), dataDir: config.dataDir },
    'listening',
  );
  const signal = await stopping;
  log.info({ signal }, 'stopping');
  await app.stop();
  log.info('stopped');
}

function withoutPassword(server: string): string {
  return server.replace(/\/\/[^@/]*@/, '//');
}

try {
  await main();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
