import { isLoginRefused, isUnavailable } from '../postgres/errors.ts';
import { CommandError } from './failure.ts';

/**
 * Runs the work of a command on Postgres. Throws a CommandError if Postgres is unavailable or refuses the login. Messages of
 * pg and of Postgres contain no password.
 */
export async function usePostgres<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isUnavailable(error) && !isLoginRefused(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    const text = `Postgres cannot be used (${reason}): check DATABASE_URL, and DATABASE_DIRECT_URL if it is set.`;
    throw new CommandError(text, { cause: error });
  }
}
