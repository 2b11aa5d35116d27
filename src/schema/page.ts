import { parsePrismaCursor } from '@pothos/plugin-prisma';
import { type InputProblem, InvalidInputError } from '../delivery/webhook-subscription-errors.ts';
import { isUuid } from '../delivery/webhook-subscriptions.ts';
import { isEventType } from '../events/event-type.ts';

const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 250;
const MAX_ROWS_PER_OPERATION = 20_000;

/** Connections inside connections multiply, so one operation may ask for so many rows in all. */
export class PageBudget {
  #rowsLeft = MAX_ROWS_PER_OPERATION;

  take(rows: number): void {
    this.#rowsLeft -= rows;
    if (this.#rowsLeft >= 0) return;
    const message = `of all connections together may come to ${MAX_ROWS_PER_OPERATION}; ask for smaller pages`;
    throw new InvalidInputError([{ path: 'first', message }]);
  }

  /** For a live stream, each of whose values is an operation of its own. */
  refill(): void {
    this.#rowsLeft = MAX_ROWS_PER_OPERATION;
  }
}

type PageArguments = {
  readonly first?: number | null | undefined;
  readonly last?: number | null | undefined;
  readonly before?: string | null | undefined;
  readonly after?: string | null | undefined;
};

type IsCursorValue = (text: string) => boolean;

/** Pothos asks for `maxSize` before it reads a cursor or the database, so bad arguments end here. */
const pageBy = <Cursor extends string>(cursor: Cursor, isCursorValue: IsCursorValue) => ({
  cursor,
  defaultSize: DEFAULT_PAGE_SIZE,
  maxSize: (args: PageArguments, { pageBudget }: { readonly pageBudget: PageBudget }): number => {
    const problems = findProblems(args, isCursorValue);
    if (problems.length > 0) throw new InvalidInputError(problems);
    pageBudget.take(args.first ?? args.last ?? DEFAULT_PAGE_SIZE);
    return MAX_PAGE_SIZE;
  },
});

/** Options of every connection over rows that have ids. */
export const PAGE = pageBy('id', isUuid);

/** The same for event types, which have names. */
export const PAGE_BY_NAME = pageBy('name', isEventType);

/** Newest first: ids begin with the time. */
export const NEWEST_FIRST = { id: 'desc' } as const;

/** The id in an edge's cursor. */
export function parseCursor(cursor: string, path: string): string {
  const id = readCursor(cursor, isUuid);
  if (id === undefined) throw new InvalidInputError([{ path, message: 'is not a cursor of this connection' }]);
  return id;
}

function findProblems({ first, last, before, after }: PageArguments, isCursorValue: IsCursorValue): InputProblem[] {
  const problems: InputProblem[] = [];
  for (const [path, size] of Object.entries({ first, last })) {
    if ((size ?? 0) > MAX_PAGE_SIZE) problems.push({ path, message: `may be at most ${MAX_PAGE_SIZE}` });
  }
  for (const [path, cursor] of Object.entries({ before, after })) {
    if (cursor != null && readCursor(cursor, isCursorValue) === undefined) {
      problems.push({ path, message: 'is not a cursor of this connection' });
    }
  }
  return problems;
}

function readCursor(cursor: string, isCursorValue: IsCursorValue): string | undefined {
  try {
    const value: unknown = parsePrismaCursor(cursor);
    return typeof value === 'string' && isCursorValue(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
