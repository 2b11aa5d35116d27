/** An expected failure of a command. The message is a sentence with the remedy. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(message: string, { exitCode = 1, cause }: { readonly exitCode?: number; readonly cause?: unknown } = {}) {
    super(message, { cause });
    this.exitCode = exitCode;
  }
}

/** The arguments of a command are wrong. */
export function usageError(message: string): CommandError {
  return new CommandError(message, { exitCode: 2 });
}

/** The reason of a failure, which fetch wraps in an error of its own. */
export function reasonOf(error: unknown): string {
  if (error instanceof CommandError) return error.message;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return cause.message || ('code' in cause ? String(cause.code) : cause.name);
}
