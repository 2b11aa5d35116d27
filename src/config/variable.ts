/** Facts that decide the value of some unset variables. */
type Facts = {
  /** DATABASE_URL is unset. */
  readonly isEmbedded: boolean;
  /** NODE_ENV is `production`. */
  readonly isProduction: boolean;
};

/** One environment variable; T is the type of its value in Config. */
export type Variable<T> = {
  readonly name: string;
  /** Reads the text of a set variable, or throws what is wrong with it: a text that follows the variable's name. */
  readonly parse: (text: string) => T;
  /** The value of the unset variable. */
  readonly fallback: (facts: Facts) => T;
  /** The default in the documentation, in Markdown. */
  readonly shownDefault: string;
  /** In Markdown. */
  readonly meaning: string;
  /** `<NAME>_FILE` may name a file with the value. */
  readonly isSecret: boolean;
  /** An empty text is a value of its own, and does not count as unset. */
  readonly canBeEmpty: boolean;
};

type Row<T> = Pick<Variable<T>, 'parse' | 'meaning'> & Partial<Pick<Variable<T>, 'isSecret' | 'canBeEmpty'>>;

/** The default is parsed as the text of a set variable is. */
type RowWithDefault<T> = Row<T> & { readonly default: string };

type RowWithFallback<T, F> = Row<T> & {
  /** Without it, the value of the unset variable is undefined. */
  readonly fallback?: (facts: Facts) => F;
  /** The default in the documentation; without it, `unset`. */
  readonly shownDefault?: string;
};

export function variable<T>(name: string, row: RowWithDefault<T>): Variable<T>;
export function variable<T, const F = undefined>(name: string, row: RowWithFallback<T, F>): Variable<T | F>;
export function variable<T>(name: string, row: RowWithDefault<T> | RowWithFallback<T, T>): Variable<T | undefined> {
  const common = { isSecret: false, canBeEmpty: false, ...row, name };
  if (!('default' in row)) return { shownDefault: 'unset', fallback: () => undefined, ...common };
  return { ...common, fallback: () => row.parse(row.default), shownDefault: `\`${row.default}\`` };
}

/** A table of variables; groups nest as they do in the values that are read from it. */
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
  // `as`: `read` gives each variable the value that its type promises.
  return Object.fromEntries(values) as Values<T>;
}

/** The variables of a table in its order. */
export function listVariables(table: Table): readonly Variable<unknown>[] {
  return Object.values(table).flatMap((entry) => (isVariable(entry) ? [entry] : listVariables(entry)));
}
