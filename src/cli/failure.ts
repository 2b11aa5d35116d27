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
