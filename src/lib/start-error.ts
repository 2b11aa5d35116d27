import { basename, resolve } from 'node:path';
import process from 'node:process';

/** The program cannot start until an operator changes something; a retry does not help. The message says what to change. */
export class StartError extends Error {}

/** A server that this program starts ended or could not be created; `output` is what the server printed. */
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

/** Recognises the error of a system call (by code) or of a server (by its output), and explains what to do. */
type Cause = { readonly codes: readonly string[]; readonly output: RegExp; readonly explain: (place: Place) => string };
/** `reason`: the code of the system's error, or the words of the server. */
type Place = { readonly path: string; readonly dataDir: string; readonly reason: string };

const CAUSES: readonly Cause[] = [
  {
    codes: ['EACCES', 'EPERM'],
    output: /Permission denied|Operation not permitted/i,
    explain: (place) => explainForbidden(place),
  },
  {
    codes: ['EROFS'],
    output: /Read-only file system/i,
    explain: ({ dataDir }) => `DATA_DIR (${dataDir}) is on a read-only file system: set it to a writable folder.`,
  },
  {
    codes: ['ENOSPC', 'EDQUOT'],
    output: /No space left on device|Check free disk space|Disk quota exceeded/i,
    explain: ({ dataDir }) =>
      `The disk of DATA_DIR (${dataDir}) is full: free space on it, or set DATA_DIR to a folder on another disk.`,
  },
  {
    codes: ['EMFILE', 'ENFILE'],
    output: /Too many open files|insufficient file descriptors/i,
    explain: () => 'The limit of open files is too low: raise it (ulimit -n) to 1024 or more.',
  },
  {
    codes: ['EEXIST', 'ENOTDIR'],
    output: /Not a directory/i,
    explain: ({ path, dataDir }) =>
      `${path} is not a folder: set DATA_DIR (${dataDir}) to a folder, or to a path where one can be created.`,
  },
  {
    codes: ['ENOENT', 'ELOOP', 'ENAMETOOLONG', 'EISDIR', 'EIO'],
    output: /Input\/output error/i,
    explain: ({ path, dataDir, reason }) =>
      `${path} cannot be used (${reason}): check it, or set DATA_DIR (${dataDir}) to another folder.`,
  },
];

/** Explains why the system refused to use files in DATA_DIR; returns any other error unchanged. */
export function explainStartFailure(error: unknown, dataDir: string): unknown {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error ? error.code : undefined;
  const reasonOf = ({ codes, output }: Cause) =>
    error instanceof ServerStartError ? output.exec(error.output)?.[0] : codes.find((one) => one === code);
  const cause = CAUSES.find((each) => reasonOf(each) !== undefined);
  if (cause === undefined) return error;
  const reason = reasonOf(cause) ?? '';
  const named = 'path' in error && typeof error.path === 'string' ? resolve(error.path) : resolve(dataDir);
  // The user knows the folder, not the file that locks it.
  const path = basename(named).startsWith('lock.') ? resolve(dataDir) : named;
  return new StartError(cause.explain({ path, dataDir: resolve(dataDir), reason }), { cause: error });
}

/** The usual cause is an earlier start as root (sudo); only root can change the owner of its files. */
export function explainForbidden({ path, dataDir }: Omit<Place, 'reason'>): string {
  const owner = `${process.getuid?.() ?? ''}:${process.getgid?.() ?? ''}`;
  const name = path === dataDir ? `DATA_DIR (${path})` : path;
  return (
    `This user may not use ${name}: if an earlier start as another user (sudo) created it, ` +
    `run "sudo chown -R ${owner} ${shellQuoted(dataDir)}"; otherwise set DATA_DIR to another folder.`
  );
}

function shellQuoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
