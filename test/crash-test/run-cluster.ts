import process from 'node:process';
import { ADMIN_API_KEY } from '../support/test-app.ts';
import { CLUSTER } from './schedule.ts';
import { findServer, Stack } from './stack.ts';

/** Starts the cluster of the crash test and keeps it running until a signal. Its data is deleted then. */
async function main(): Promise<void> {
  const report = (text: string) => {
    console.log(text);
  };
  const ended = new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, resolve);
  });
  report(`Starting ${[...CLUSTER.servers, ...CLUSTER.processes].join(', ')}…`);
  const stack = await Stack.start({
    topology: CLUSTER,
    natsServer: await findServer(report),
    program: 'dist/main.js',
    env: { LOG_LEVEL: 'warn', RETRY_SCHEDULE: '5s,30s,2m' },
    ackWaitMs: undefined,
  });
  report(`
${[...stack.urls].map(([name, url]) => `${name.padEnd(14)}${url}${name.startsWith('api') ? '/console/' : '/health/ready'}`).join('\n')}
NATS_URL      ${stack.nats.url}
DATABASE_URL  ${stack.postgres.url}
admin key     ${ADMIN_API_KEY}

Streams have three replicas. Receivers may be on loopback, also over http. Ctrl-C stops everything and deletes the data.`);
  await ended;
  report('Stopping…');
  await stack.stop();
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
