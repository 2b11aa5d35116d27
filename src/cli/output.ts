import process from 'node:process';
import { stripVTControlCharacters } from 'node:util';

type Cell = string | number | boolean | null | undefined;
export type Row = Readonly<Record<string, Cell>>;

/** The output of a command: results go to standard output, everything else to standard error. */
export type Output = {
  /** Results: a table for people, or one JSON object per line. */
  rows(rows: readonly Row[]): void;
  /** One result of a continuous command. `text` is the line for people, `row` the JSON object. */
  line(row: object, text: string): void;
  /** A note for people, which is not part of the results. */
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

/** A number with its noun: `1 warning`, `2 warnings`. */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
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

/** Removes control characters, because texts of tenants and receivers could move the cursor or set the terminal's title. */
function clean(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\p{Cc}/gu, (char) => (char === '\n' ? char : ' '));
}
