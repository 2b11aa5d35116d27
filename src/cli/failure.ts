import type { InputProblem } from '../lib/errors.ts';

/** An expected failure of a command. The message is a sentence with the remedy. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(message: string, { exitCode = 1, cause }: { readonly exitCode?: number; readonly cause?: unknown } = {}) {
    super(message, { cause });
    this.exitCode = exitCode;
  }
}

/** The options and arguments by the GraphQL fields that they set. */
const OPTIONS: Readonly<Record<string, string>> = {
  tenant: '--tenant',
  subscriptionIds: '--subscription',
  eventTypes: '--type',
  statuses: '--status',
  from: '--from',
  to: '--to',
  ratePerSecond: '--rate',
  id: '--id',
  occurredAt: '--occurred-at',
  after: '--after',
  scope: '--scope',
  type: 'the event type',
  name: 'the name',
};

/** The message of an error of the engine, in which problems name options in place of the paths of GraphQL fields. */
export function inOptions(text: string, problems: readonly InputProblem[] = []): string {
  return problems.reduce((changed, problem) => {
    const { path, message } = problem;
    const field = path.replace(/^(?:input\.)?(?:filter\.)?/, '').replace(/\.\d+$/, '');
    return changed.replace(textOf(problem), () => `${OPTIONS[field] ?? path} ${message}`);
  }, text);
}

/** A problem as messages of the engine contain it. */
export function textOf({ path, message }: InputProblem): string {
  return `${path} ${message}`;
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
