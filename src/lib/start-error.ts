import { resolve } from 'node:path';
import process from 'node:process';

/** The program cannot start until somebody changes something; trying again would not help. The message says what. */
export class StartError extends Error {}

/** A server of ours ended, or could not be made, while it started; `output` is what it printed. */
export class ServerStartError extends StartError {
  readonly output: string;

  constructor(what: string, output: string) {
    super(
      `${what}: ${
        output
          .trim()
          .split(/\s*\n\s*/)
          .join('; ') || 'it printed nothing'
      }`,
    );
    this.output = output;
  }
}

/** The message of a system call or a server, and the sentence that says what to do. */
type Cause = { readonly codes: readonly string[]; readonly output: RegExp; readonly explain: (place: Place) => string };
type Place = { readonly path: string; readonly dataDir: string };

const CAUSES: readonly Cause[] = [
  {
    codes: ['EACCES', 'EPERM'],
    output: /Permission denied|Operation not permitted/i,
    explain: (place) => explainForbidden(place),
  },
  {
    codes: ['EROFS'],
    output: /Read-only file system/i,
    explain: ({ dataDir }) =>
      `DATA_DIR (${dataDir}) is on a file system that is read-only: set it to a folder that can be written.`,
  },
  {
    codes: ['ENOSPC', 'EDQUOT'],
    output: /No space left on device|Check free disk space|Disk quota exceeded/i,
    explain: ({ dataDir }) =>
      `The disk that DATA_DIR (${dataDir}) is on is full: make room there, or set DATA_DIR to a folder on another one.`,
  },
  {
    codes: ['EMFILE', 'ENFILE'],
    output: /Too many open files|insufficient file descriptors/i,
    explain: () => 'Too few files may be open at a time: raise the limit (ulimit -n) to 1024 or more.',
  },
  {
    codes: ['EEXIST', 'ENOTDIR'],
    output: /Not a directory/i,
    explain: ({ path, dataDir }) =>
      `${path} is not a folder: set DATA_DIR (${dataDir}) to a folder, or to a path where one can be made.`,
  },
  {
    codes: ['ENOENT', 'ELOOP', 'ENAMETOOLONG', 'EISDIR', 'EIO'],
    output: /Input\/output error/i,
    explain: ({ path, dataDir }) =>
      `${path} cannot be used: look at it, or set DATA_DIR (${dataDir}) to another folder.`,
  },
];

/** A sentence for what the system refused while the files in DATA_DIR were used; the error itself if it is anything else. */
export function explainStartFailure(error: unknown, dataDir: string): unknown {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error ? error.code : undefined;
  const cause = CAUSES.find(({ codes, output }) =>
    error instanceof ServerStartError ? output.test(error.output) : codes.some((one) => one === code),
  );
  if (cause === undefined) return error;
  const path = 'path' in error && typeof error.path === 'string' ? error.path : dataDir;
  return new StartError(cause.explain({ path: resolve(path), dataDir: resolve(dataDir) }), { cause: error });
}

/** Most often an earlier start was root's (sudo), whose files only root can give away. */
export function explainForbidden({ path, dataDir }: Place): string {
  const owner = `${process.getuid?.() ?? ''}:${process.getgid?.() ?? ''}`;
  return (
    `This user may not use ${path}: if an earlier start as another user (sudo) made it, ` +
    `run "sudo chown -R ${owner} ${shellQuoted(dataDir)}"; otherwise set DATA_DIR to another folder.`
  );
}

function shellQuoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
