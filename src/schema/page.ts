import { parsePrismaCursor } from '@pothos/plugin-prisma';
import { type InputProblem, InvalidInputError } from '../delivery/webhook-subscription-errors.ts';
import { isUuid } from '../delivery/webhook-subscriptions.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { LogPosition } from './log-position.ts';

const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 250;

type PageArguments = {
  readonly first?: number | null | undefined;
  readonly last?: number | null | undefined;
  readonly before?: string | null | undefined;
  readonly after?: string | null | undefined;
};

/** Options of every connection. Pothos asks for `maxSize` before it reads a cursor or the database, so bad arguments end here. */
function pageOptions(isCursor: (value: string) => boolean) {
  return {
    cursor: 'id',
    defaultSize: DEFAULT_PAGE_SIZE,
    maxSize: (args: PageArguments): number => {
      const problems = findProblems(args, isCursor);
      if (problems.length > 0) throw new InvalidInputError(problems);
      return MAX_PAGE_SIZE;
    },
    /** What is selected inside costs so many times as much; a page that is too large is refused above, and says so. */
    complexity: ({ first, last }: PageArguments) => ({
      field: 1,
      multiplier: Math.min(first ?? last ?? DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
    }),
  } as const;
}

export const PAGE = pageOptions(isUuid);

/** Of a connection of attempts: a cursor of the live log does as well, see `pageOfLog`. */
export const LOG_PAGE = pageOptions((value) => LogPosition.parse(value) !== undefined);

/** Newest first: ids begin with the time. */
export const NEWEST_FIRST = { id: 'desc' } as const;

/** What has been seen of the log by who has this cursor of it. */
export function parseLogPosition(cursor: string, path: string): LogPosition {
  const position = LogPosition.parse(readCursor(cursor));
  if (position === undefined) throw new InvalidInputError([{ path, message: NO_CURSOR }]);
  return position;
}

/** The query of a page of attempts, with the attempt that its cursor came with. */
export function pageOfLog<Query extends { readonly cursor?: Prisma.AttemptWhereUniqueInput }>(query: Query): Query {
  const position = LogPosition.parse(query.cursor?.id ?? '');
  return position === undefined ? query : { ...query, cursor: { id: position.head } };
}

const NO_CURSOR = 'is not a cursor of this connection';

function findProblems(
  { first, last, before, after }: PageArguments,
  isCursor: (value: string) => boolean,
): InputProblem[] {
  const problems: InputProblem[] = [];
  for (const [path, size] of Object.entries({ first, last })) {
    if ((size ?? 0) > MAX_PAGE_SIZE) problems.push({ path, message: `may be at most ${MAX_PAGE_SIZE}` });
  }
  for (const [path, cursor] of Object.entries({ before, after })) {
    if (cursor != null && !isCursor(readCursor(cursor))) problems.push({ path, message: NO_CURSOR });
  }
  return problems;
}

/** The value that makes a cursor; empty if it is none. */
function readCursor(cursor: string): string {
  try {
    const value: unknown = parsePrismaCursor(cursor);
    return typeof value === 'string' ? value : '';
  } catch {
    return '';
  }
}
