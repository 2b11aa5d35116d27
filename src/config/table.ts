/** Facts that determine the default of some variables. */
type Facts = {
  /** Whether DATABASE_URL is unset. */
  readonly isEmbedded: boolean;
  /** Whether NODE_ENV is `production`. */
  readonly isProduction: boolean;
};

/** One environment variable; T is the type of its value in Config. */
export type Variable<T> = {
  readonly name: string;
  /** Parses the text of a set variable. Throws an error whose message follows the variable's name: "must be …". */
  readonly parse: (text: string) => T;
  /** The value if the variable is unset. */
  readonly fallback: (facts: Facts) => T;
  /** The default in the documentation, in Markdown. */
  readonly shownDefault: string;
  /** The description in the documentation, in Markdown. */
  readonly meaning: string;
  /** Whether `<NAME>_FILE` may contain the path of a file with the value. */
  readonly isSecret: boolean;
  /** Whether an empty text is a value, in place of counting as unset. */
  readonly canBeEmpty: boolean;
};

type Row<T> = Pick<Variable<T>, 'parse' | 'meaning'> & Partial<Pick<Variable<T>, 'isSecret' | 'canBeEmpty'>>;

/** The default is parsed like the text of a set variable. */
type RowWithDefault<T> = Row<T> & { readonly default: string };

type RowWithFallback<T, F> = Row<T> & {
  /** The value if the variable is unset; by default undefined. */
  readonly fallback?: (facts: Facts) => F;
  /** The default in the documentation; by default `unset`. */
  readonly shownDefault?: string;
};

export function variable<T>(name: string, row: RowWithDefault<T>): Variable<T>;
export function variable<T, const F = undefined>(name: string, row: RowWithFallback<T, F>): Variable<T | F>;
export function variable<T>(name: string, row: RowWithDefault<T> | RowWithFallback<T, T>): Variable<T | undefined> {
  const common = { isSecret: false, canBeEmpty: false, ...row, name };
  if (!('default' in row)) return { shownDefault: 'unset', fallback: () => undefined, ...common };
  return { ...common, fallback: () => row.parse(row.default), shownDefault: `\`${row.default}\`` };
}

/** A table of variables. Its groups have the same structure as the values that are read from it. */
export type Table = { readonly [key: string]: Variable<unknown> | Table };

export type Values<T> = { readonly [K in keyof T]: T[K] extends Variable<infer V> ? V : Values<T[K]> };

function isVariable(entry: Variable<unknown> | Table): entry is Variable<unknown> {
  return typeof entry['parse'] === 'function';
}

/** Reads each variable of the table with `read`. */
export function readTable<T extends Table>(table: T, read: (variable: Variable<unknown>) => unknown): Values<T> {
  const values = Object.entries(table).map(([key, entry]) => [
    key,
    isVariable(entry) ? read(entry) : readTable(entry, read),
  ]);
  // `as`: `read` returns a value of the variable's type for each variable.
  return Object.fromEntries(values) as Values<T>;
}

/** The variables of a table in its order. */
export function listVariables(table: Table): readonly Variable<unknown>[] {
  return Object.values(table).flatMap((entry) => (isVariable(entry) ? [entry] : listVariables(entry)));
}
