import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { acceptsConnections } from '../../src/embedded/postgres.ts';
import { createLauncher } from '../../src/embedded/unprivileged.ts';
import { findDebianProgram } from './debian-program.ts';
import { findOwnPort } from './own-port.ts';
import { ServerProcess } from './server-process.ts';
import { createTempFolder } from './temp-folder.ts';

export type PgBouncer = {
  /** The URL of the database through PgBouncer. */
  readonly url: string;
  stop(): Promise<void>;
};

/** The path of PgBouncer; if it is not available, prints the reason and returns undefined. */
export function findPgBouncer(): Promise<string | undefined> {
  return findDebianProgram({ package: 'pgbouncer', program: 'pgbouncer', folder: '/usr/sbin' });
}

/** Starts PgBouncer in front of the database of `databaseUrl`, with its own defaults except for the mode. */
export async function startPgBouncer(
  binary: string,
  {
    databaseUrl,
    poolMode,
  }: { readonly databaseUrl: string; readonly poolMode: 'session' | 'statement' | 'transaction' },
): Promise<PgBouncer> {
  const { hostname, port: serverPort, username, password, pathname } = new URL(databaseUrl);
  const folder = await createTempFolder();
  const config = join(folder.path, 'pgbouncer.ini');
  const port = await findOwnPort();
  const lines = [
    '[databases]',
    `* = host=${hostname} port=${serverPort} user=${username} password=${password}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    // PgBouncer logs in to Postgres as the user above, for every client.
    'auth_type = any',
    `pool_mode = ${poolMode}`,
    'default_pool_size = 10',
    'max_client_conn = 300',
  ];
  await chmod(folder.path, 0o711);
  await writeFile(config, `${lines.join('\n')}\n`);
  // PgBouncer refuses to run as root.
  const launcher = await createLauncher([binary, folder.path]);
  const url = `postgres://${username}@127.0.0.1:${port}${pathname}`;
  const server = new ServerProcess({
    commandLine: [...launcher.prefix, binary, config],
    stopSignal: 'SIGINT',
    isReady: () => acceptsConnections(url),
  });
  await server.start();
  return {
    url,
    stop: async () => {
      await server.stop();
      await folder.remove();
    },
  };
}
