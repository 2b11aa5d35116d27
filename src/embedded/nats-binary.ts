import { chmod, copyFile, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { StartError } from '../lib/start-error.ts';
import { type DebianPackage, fetchDebianPackage } from './debian-package.ts';
import { findProgram } from './find-program.ts';
import { type FetchOptions, fetchNatsRelease, type NatsRelease, officialNatsRelease } from './nats-release.ts';
import { isAtLeast, readNatsVersion } from './nats-version.ts';
import { type Report, reportWhenSlow } from './report.ts';

export type FindNatsServerOptions = {
  readonly dataDir: string;
  /** The value of the environment variable PATH. */
  readonly searchPath: string;
  readonly log: Logger;
  readonly report: Report;
  /** Folders where packages install a nats-server and which an ordinary user's PATH may not contain. */
  readonly systemFolders?: readonly string[];
  /** The release to download. Left out: NATS's release for this machine; undefined: no release is downloaded. */
  readonly release?: NatsRelease | undefined;
};

/** The package alone: nats-server needs no libraries of other packages. */
const DEBIAN: DebianPackage = { name: 'nats-server', program: 'nats-server', isComplete: false };
const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/local/sbin', '/usr/sbin', '/usr/bin'];

/**
 * Returns the path of a nats-server 2.9 or newer: an installed one, or the one in `DATA_DIR/bin`, which is downloaded once
 * if it does not exist. Throws a StartError that lists each failed source if none is found or downloaded.
 */
export async function findNatsServer(options: FindNatsServerOptions): Promise<string> {
  const { dataDir, log, systemFolders = SYSTEM_FOLDERS } = options;
  const searchPath = options.searchPath.split(delimiter).filter((folder) => folder !== '');
  const path = join(resolve(dataDir), 'bin', 'nats-server');
  const failures: string[] = [];
  const installed = await findProgram('nats-server', [...searchPath, ...systemFolders]);
  if (installed === undefined) {
    failures.push('PATH: it contains no nats-server');
  }
  for (const candidate of [installed, await findProgram('nats-server', [join(resolve(dataDir), 'bin')])]) {
    const failure = candidate === undefined ? undefined : await checkProgram(candidate);
    if (candidate !== undefined && failure === undefined) {
      log.debug({ binary: candidate }, 'found nats-server');
      return candidate;
    }
    failures.push(...(failure === undefined ? [] : [failure]));
  }
  for (const { name, fetch } of sourcesOf(options)) {
    try {
      const text = `Fetching nats-server (${name})…`;
      await reportWhenSlow(options.report, text, () => install(path, (folder) => fetch({ searchPath, folder })));
      log.info({ binary: path, source: name }, 'fetched nats-server');
      return path;
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const advice =
    'Install nats-server (2.9 or newer) and put it on PATH, or set NATS_URL to a NATS of your own with JetStream.';
  throw new StartError(
    `no nats-server was found, and none could be fetched. ${advice} These sources failed:\n${failures.map((failure) => `- ${failure}`).join('\n')}`,
  );
}

type Source = { readonly name: string; readonly fetch: (options: FetchOptions) => Promise<string> };

function sourcesOf(options: FindNatsServerOptions): Source[] {
  const release = 'release' in options ? options.release : officialNatsRelease();
  const debian = { name: "Debian's package", fetch: (place: FetchOptions) => fetchDebianPackage(DEBIAN, place) };
  return release === undefined
    ? [debian]
    : [{ name: "NATS's release", fetch: (place) => fetchNatsRelease(release, place) }, debian];
}

/** Returns why the program cannot be used; undefined if it can. */
async function checkProgram(path: string): Promise<string | undefined> {
  try {
    const version = await readNatsVersion(path);
    return isAtLeast(version, 2, 9) ? undefined : `${path}: version ${version.text} is older than 2.9`;
  } catch (error) {
    return `${path}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Fetches into a temporary folder. Then runs the program once, and renames it to `path` if it works. */
async function install(path: string, fetch: (folder: string) => Promise<string>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'webhooks-engine-nats-'));
  const draft = `${path}.${process.pid}`;
  try {
    const fetched = await fetch(folder);
    await mkdir(resolve(path, '..'), { recursive: true, mode: 0o700 });
    await copyFile(fetched, draft);
    await chmod(draft, 0o755);
    const failure = await checkProgram(draft);
    if (failure !== undefined) {
      throw new StartError(failure);
    }
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
    await rm(folder, { recursive: true, force: true });
  }
}
