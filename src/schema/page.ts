import { parsePrismaCursor } from '@pothos/plugin-prisma';
import { ChangePosition } from '../delivery-log/changes/change-position.ts';
import type { DeliveryFilter } from '../delivery-log/filter.ts';
import { problemsOfFilter } from '../delivery-log/filter-input.ts';
import { LogPosition } from '../delivery-log/log-position.ts';
import { isEventType } from '../events/event-type.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import type { ChangedTable } from '../postgres/changes.ts';

export const DEFAULT_PAGE_SIZE = 50;
export const MAX_PAGE_SIZE = 250;

export type PageArguments = {
  readonly first?: number | null | undefined;
  readonly last?: number | null | undefined;
  readonly before?: string | null | undefined;
  readonly after?: string | null | undefined;
};

/**
 * Filters of connections have some of the fields of a DeliveryFilter; EventTypeFilter and TenantFilter have none of
 * them.
 */
type Filter = DeliveryFilter & {
  readonly includeArchived?: boolean | null | undefined;
  readonly search?: string | null | undefined;
};
type FilterArgument = { readonly filter?: Filter | null | undefined };

/**
 * Options of every connection. Pothos calls `maxSize` before it reads a cursor or the database, so it validates the
 * arguments.
 */
function pageOptions<Cursor extends string>(cursor: Cursor, isCursor: (value: string) => boolean) {
  return {
    cursor,
    defaultSize: DEFAULT_PAGE_SIZE,
    maxSize: (args: PageArguments & FilterArgument): number => {
      const problems = problemsOfPage(args, isCursor);
      // If the page arguments are valid, the filter is validated where it is read.
      if (problems.length > 0) throw new InvalidInputError([...problems, ...problemsOfFilter(args.filter ?? {})]);
      return MAX_PAGE_SIZE;
    },
    /** Multiplies the cost of the selected fields by the page's size. A page that is too large is refused by `maxSize`. */
    complexity: ({ first, last }: PageArguments) => ({
      field: 1,
      multiplier: Math.min(first ?? last ?? DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
    }),
  } as const;
}

export const PAGE = pageOptions('id', isUuid);

/** For connections of attempts: also accepts a cursor of the live log, and continues after its attempt. */
export const LOG_PAGE = pageOptions('id', (value) => LogPosition.parse(value) !== undefined);

/** For event types, which are sorted by name. */
export const PAGE_BY_NAME = pageOptions('name', isEventType);

/** Returns the id in a cursor of a connection sorted by id. */
export function parseCursor(cursor: string, path: string): string {
  const id = readCursor(cursor);
  if (!isUuid(id)) throw new InvalidInputError([{ path, message: NO_CURSOR }]);
  return id;
}

/** Parses a cursor of a stream of changes; undefined without one. */
export function readChangePosition(
  cursor: string | null | undefined,
  table: ChangedTable,
): { readonly after: ChangePosition | undefined; readonly problems: readonly InputProblem[] } {
  const after = cursor == null ? undefined : ChangePosition.parse(readCursor(cursor), table);
  const isWrong = cursor != null && after === undefined;
  return { after, problems: isWrong ? [{ path: 'after', message: 'is not a cursor of this stream' }] : [] };
}

/** Parses a cursor of the delivery log. */
export function readLogPosition(
  cursor: string,
  path: string,
): { readonly position: LogPosition | undefined; readonly problems: readonly InputProblem[] } {
  const position = LogPosition.parse(readCursor(cursor));
  return { position, problems: position === undefined ? [{ path, message: NO_CURSOR }] : [] };
}

const NO_CURSOR = 'is not a cursor of this connection';

/** Pairs of arguments that exclude each other: a page begins at one end and has one size. */
const CONTRADICTIONS = [
  ['first', 'last'],
  ['first', 'before'],
  ['last', 'after'],
  ['after', 'before'],
] as const;

function problemsOfPage(args: PageArguments, isCursor: (value: string) => boolean): InputProblem[] {
  const { first, last, before, after } = args;
  const problems: InputProblem[] = [];
  for (const [one, path] of CONTRADICTIONS) {
    if (args[one] != null && args[path] != null) problems.push({ path, message: `must not be combined with ${one}` });
  }
  for (const [path, size] of Object.entries({ first, last })) {
    if ((size ?? 0) > MAX_PAGE_SIZE) problems.push({ path, message: `may be at most ${MAX_PAGE_SIZE}` });
    if ((size ?? 0) < 0) problems.push({ path, message: 'must not be negative' });
  }
  for (const [path, cursor] of Object.entries({ before, after })) {
    if (cursor != null && !isCursor(readCursor(cursor))) problems.push({ path, message: NO_CURSOR });
  }
  return problems;
}

/** Returns the value in a cursor; empty if it is not a cursor. */
function readCursor(cursor: string): string {
  try {
    const value: unknown = parsePrismaCursor(cursor);
    return typeof value === 'string' ? value : '';
  } catch {
    return '';
  }
}
