import process from 'node:process';
import { stripVTControlCharacters } from 'node:util';

type Cell = string | number | boolean | null | undefined;
export type Row = Readonly<Record<string, Cell>>;

/** Where a command prints: results to standard output, everything else to standard error. */
export type Output = {
  /** Results: a table for people, or one JSON object per line. */
  rows(rows: readonly Row[]): void;
  /** One result of a command that runs on. `text` is its line for people. */
  line(row: object, text: string): void;
  /** A note for people, never part of the results. */
  note(text: string): void;
};

type Streams = { readonly out: { write(text: string): unknown }; readonly err: { write(text: string): unknown } };

export function createOutput(json: boolean, streams: Streams = { out: process.stdout, err: process.stderr }): Output {
  const { out, err } = streams;
  return {
    rows: (rows) => {
      if (json) for (const row of rows) out.write(`${JSON.stringify(row)}\n`);
      else if (rows.length > 0) out.write(`${renderTable(rows)}\n`);
    },
    line: (row, text) => {
      out.write(json ? `${JSON.stringify(row)}\n` : `${clean(text)}\n`);
    },
    note: (text) => {
      err.write(`${clean(text)}\n`);
    },
  };
}

/** Columns as wide as their widest cell, separated by two spaces; the names of the columns first. */
export function renderTable(rows: readonly Row[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [names, ...rows.map((row) => names.map((name) => clean(String(row[name] ?? '-'))))];
  const widths = names.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Texts come from other people: control characters could move the cursor or set the title of the terminal. */
function clean(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\p{Cc}/gu, (char) => (char === '\n' ? char : ' '));
}
