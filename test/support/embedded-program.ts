// A program that locks a data directory and runs the embedded services in it, for tests that kill it or run it as
// another user. Arguments: the data directory, the path of nats-server. Prints the addresses. SIGTERM stops it.
import { once } from 'node:events';
import { join } from 'node:path';
import { pino } from 'pino';
import { lockDataDirectory } from '../../src/embedded/data-directory.ts';
import { startEmbeddedNats } from '../../src/embedded/nats.ts';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';

const [, , dataDir = '', binary = ''] = process.argv;
const log = pino({ level: 'warn' }, pino.destination(2));
// Listen before the first output, because the test may send the signal as soon as it has read the line.
const stopped = once(process, 'SIGTERM');
const unlock = await lockDataDirectory(dataDir);
const postgres = await startEmbeddedPostgres({ directory: join(dataDir, 'postgres'), log, report: () => undefined });
const nats = await startEmbeddedNats({ directory: join(dataDir, 'nats'), binary, password: 'secret', log });
process.stdout.write(`${JSON.stringify({ postgres: postgres.url, nats: nats.url })}\n`);
await stopped;
await nats.stop();
await postgres.stop();
await unlock();
