import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartError } from '../lib/start-error.ts';
import { requireProgram } from './find-program.ts';
import { runCommand } from './run-command.ts';

/** A tar.gz archive; `member` is the path of nats-server in it. */
export type NatsRelease = { readonly url: string; readonly sha256: string; readonly member: string };

const VERSION = 'v2.14.7';
/** By `process.arch`: the name of the architecture in NATS's archives, and their SHA-256 from SHA256SUMS of VERSION. */
const CHECKSUMS = new Map([
  ['x64', { name: 'amd64', sha256: 'e5c20b1cb2c0566b54c544312e91e011f9e130c5c80f16a14f4cf28ef30b8be2' }],
  ['arm64', { name: 'arm64', sha256: '50e0258a1b7290f3fe2e4f17506b74a90ffb1dd77867ae3a402eb0c9e2b0d40f' }],
]);
/** Maximum size of a downloaded archive: three times that of VERSION. */
const MAX_BYTES = 32 * 1024 * 1024;
const TIMEOUT_MS = 120_000;

/** NATS's release for this machine; undefined if CHECKSUMS does not contain the platform and architecture. */
export function officialNatsRelease(): NatsRelease | undefined {
  const known = process.platform === 'linux' ? CHECKSUMS.get(process.arch) : undefined;
  if (known === undefined) {
    return undefined;
  }
  const folder = `nats-server-${VERSION}-linux-${known.name}`;
  const url = `https://github.com/nats-io/nats-server/releases/download/${VERSION}/${folder}.tar.gz`;
  return { url, sha256: known.sha256, member: `${folder}/nats-server` };
}

export type FetchOptions = { readonly searchPath: readonly string[]; readonly folder: string };

/** Downloads the release, verifies its checksum, and then unpacks it into `folder`. Returns the program's path. */
export async function fetchNatsRelease(release: NatsRelease, { searchPath, folder }: FetchOptions): Promise<string> {
  const tar = await requireProgram('tar', searchPath);
  const content = await download(release.url);
  const sha256 = createHash('sha256').update(content).digest('hex');
  if (sha256 !== release.sha256) {
    throw new StartError(
      `${release.url} has the SHA-256 ${sha256} and not ${release.sha256}: the archive was rejected`,
    );
  }
  const archive = join(folder, 'nats-server.tar.gz');
  await writeFile(archive, content);
  const args = ['-xzf', archive, '-C', folder, '--no-same-owner', release.member];
  await runCommand({ command: tar, args, timeoutMs: 60_000 });
  return join(folder, release.member);
}

async function download(url: string): Promise<Buffer> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error: unknown) => {
    throw new StartError(`${url} could not be fetched: ${reasonOf(error)}`, { cause: error });
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new StartError(`${url} answered with status ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body: AsyncIterable<Uint8Array> = response.body;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) {
      throw new StartError(`${url} is larger than ${MAX_BYTES} bytes: the download was aborted`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The message of the error's cause: that of `fetch`'s own error is always "fetch failed". */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error ? cause.message : String(cause);
}
