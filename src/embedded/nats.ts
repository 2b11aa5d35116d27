import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, realpath, rm, statfs, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Logger } from 'pino';
import { StartError } from '../lib/start-error.ts';
import { replaceSecretFile } from './data-directory.ts';
import type { EmbeddedServer } from './embedded-server.ts';
import { findPortProblem, startOnFreePort } from './free-port.ts';
import { readNatsServerInfo } from './nats-server-info.ts';
import { isAtLeast, type NatsVersion, readNatsVersion } from './nats-version.ts';
import { stopOrphans } from './stop-orphans.ts';
import { SupervisedProcess } from './supervised-process.ts';

export type EmbeddedNatsOptions = {
  readonly directory: string;
  readonly binary: string;
  /** The port to listen on. 0: any free port; undefined: the port of the previous start if it is free, otherwise any. */
  readonly port?: number | undefined;
  /** Password of the user `engine`. URLs contain it unescaped. */
  readonly password: string;
  readonly log: Logger;
};

const USER = 'engine';

const MAX_PORT = 65_535;
const MEBIBYTE = 1024 * 1024;
/** Twice NATS's default of 1 MiB: the largest event fits together with its envelope. */
const MAX_PAYLOAD_BYTES = 2 * MEBIBYTE;
const MAX_STORE_BYTES = 16 * 1024 * MEBIBYTE;
/** Maximum share of the free disk space that the store may use, measured when the store is created. */
const STORE_SHARE = 0.75;

/**
 * Starts a nats-server with JetStream on 127.0.0.1, with its store, configuration, pid file and log in `directory`. The
 * caller must hold the lock of the data directory that contains `directory`: a server that already runs on `directory` is
 * an orphaned process and is stopped.
 */
export async function startEmbeddedNats(options: EmbeddedNatsOptions): Promise<EmbeddedServer> {
  const { directory, binary, password, log } = options;
  const version = await readNatsVersion(binary);
  const store = await prepareNatsStore({ directory, binary, version, password });
  await stopOrphans({ name: 'nats-server', matches: store.isServer, signal: 'SIGTERM', log });
  const start = async (port: number) => {
    const [command = '', ...args] = await store.configure(port);
    const server = new SupervisedProcess({
      name: 'nats-server',
      command,
      args,
      log,
      isReady: () => store.isReady(port),
      // JetStream reads its whole store before nats-server opens the port.
      readyTimeoutMs: 60_000,
      stopSignal: 'SIGTERM',
      stopTimeoutMs: 10_000,
      readLastLog: store.readLastLog,
    });
    await server.start();
    await replaceSecretFile(portFile(directory), String(port));
    return { url: `nats://${USER}:${password}@127.0.0.1:${port}`, stop: () => server.stop() };
  };
  const port = await choosePort(options);
  return port === undefined ? startOnFreePort(start) : start(port);
}

const portFile = (directory: string) => join(directory, 'port');

/**
 * The port given in the options, or the port of the previous start if it is free, because publishers are configured with
 * that address; undefined: any free port.
 */
async function choosePort({ directory, port, log }: EmbeddedNatsOptions): Promise<number | undefined> {
  if (port === 0) return undefined;
  if (port !== undefined) {
    const problem = await findPortProblem(port);
    if (problem === undefined) return port;
    const reason = problem === 'taken' ? 'is used by another program: stop that one' : 'is not allowed to this user';
    throw new StartError(`NATS_PORT ${port} ${reason}, or set NATS_PORT to another port`);
  }
  const kept = Number.parseInt(await readFile(portFile(directory), 'utf8').catch(() => ''), 10);
  if (!(kept > 0 && kept <= MAX_PORT)) return undefined;
  if ((await findPortProblem(kept)) === undefined) return kept;
  log.warn(
    { port: kept },
    'another program uses the previous port of the embedded nats-server; starting it on a new port: read DATA_DIR/nats-url again, or set NATS_PORT',
  );
  return undefined;
}

/** A folder with the store of a nats-server, and how to start and recognise its server. */
export type NatsStore = {
  /** Writes the configuration and returns the command line, including the program. */
  readonly configure: (port: number) => Promise<readonly string[]>;
  /** Whether a command line is that of a nats-server serving this store. */
  readonly isServer: (args: readonly string[]) => boolean;
  readonly isReady: (port: number) => Promise<boolean>;
  readonly readLastLog: () => Promise<string>;
};

/** Without a password, every user of this machine has full access to the server. */
export async function prepareNatsStore(
  options: Pick<EmbeddedNatsOptions, 'directory' | 'binary'> & {
    readonly version: NatsVersion;
    readonly password?: string;
  },
): Promise<NatsStore> {
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  // The canonical path: `isServer` compares it with the one on a server's command line.
  const directory = await realpath(options.directory);
  const configPath = join(directory, 'nats.conf');
  const { binary, version } = options;
  const maxStoreBytes = await chooseMaxStoreBytes(directory, configPath);
  await removeOldLogs(directory);
  return {
    configure: async (port) => {
      const { password } = options;
      const config = renderConfig({ directory, port, version, password, maxStoreBytes });
      await writeFile(configPath, config, { mode: 0o600 });
      return [binary, '-c', configPath];
    },
    isServer: (args) => basename(args[0] ?? '') === 'nats-server' && args[1] === '-c' && args[2] === configPath,
    isReady: async (port) => {
      const info = await readNatsServerInfo(port);
      return info?.name === serverName(directory) && info.hasJetStream;
    },
    readLastLog: async () => (await readFile(join(directory, 'nats.log'), 'utf8')).slice(-2_000),
  };
}

type NatsConfig = {
  readonly directory: string;
  readonly port: number;
  readonly version: NatsVersion;
  readonly password?: string | undefined;
  readonly maxStoreBytes: number;
};

/**
 * Maximum size of all streams together. It is below the free disk space, because nats-server 2.9 stops answering when its
 * disk is full, until it is restarted. Later starts keep the value of the first start, because streams have reserved
 * their space by then.
 */
async function chooseMaxStoreBytes(directory: string, configPath: string): Promise<number> {
  const before = await readFile(configPath, 'utf8').catch(() => '');
  const [, kept] = /max_file_store: (\d+)/.exec(before) ?? [];
  if (kept !== undefined) return Number(kept);
  const { bavail, bsize } = await statfs(directory);
  return Math.min(MAX_STORE_BYTES, Math.floor(bavail * bsize * STORE_SHARE));
}

/**
 * The log is a file, not a pipe to this process. If this process is killed, an orphaned server would get SIGPIPE at its
 * next log line, which comes in the middle of the orderly shutdown that the next start of the engine requests.
 */
export function renderConfig({ directory, port, version, password, maxStoreBytes }: NatsConfig): string {
  return `${[
    `server_name: ${JSON.stringify(serverName(directory))}`,
    `listen: "127.0.0.1:${port}"`,
    // In the file, because every user of the machine can read the command line.
    ...(password === undefined ? [] : [`authorization { user: ${USER}, password: ${JSON.stringify(password)} }`]),
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    `pid_file: ${JSON.stringify(join(directory, 'nats.pid'))}`,
    `log_file: ${JSON.stringify(join(directory, 'nats.log'))}`,
    `logfile_size_limit: ${10 * MEBIBYTE}`,
    'jetstream {',
    `  store_dir: ${JSON.stringify(directory)}`,
    `  max_memory_store: ${256 * MEBIBYTE}`,
    // The default is a share of the free disk space, which shrinks as the store itself grows.
    `  max_file_store: ${maxStoreBytes}`,
    // A power failure loses at most the writes of this interval; a killed process loses none. nats-server 2.9 does not know
    // the setting; its interval is always one minute.
    ...(isAtLeast(version, 2, 10) ? ['  sync_interval: "1s"'] : []),
    '}',
  ].join('\n')}\n`;
}

/** Distinguishes the embedded server from another program that listens on the port. */
function serverName(directory: string): string {
  return `webhooks-engine-${createHash('sha256').update(directory).digest('hex').slice(0, 12)}`;
}

/** nats-server renames a full log file to a dated name and never deletes it. */
async function removeOldLogs(directory: string): Promise<void> {
  for (const entry of await readdir(directory)) {
    if (entry.startsWith('nats.log.')) {
      await rm(join(directory, entry), { force: true });
    }
  }
}
