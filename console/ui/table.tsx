import type { ReactNode } from 'react';
import { setTitleIfCut } from './cut-text.ts';
import styles from './table.module.css';

type TableProps = {
  readonly label: string;
  readonly head: readonly string[];
  /** The column, by its head, that takes the space that others leave, and is shortened where there is little. */
  readonly grow?: string;
  /** Columns of numbers, by their heads. */
  readonly numbers?: readonly string[];
  readonly rows: readonly { readonly key: string; readonly cells: readonly ReactNode[] }[];
};

/** With more columns of texts, a table is too wide for a phone, which shows the cells of a row below each other. */
const MAX_NARROW_TEXTS = 2;

/** A short table of up to some hundred rows; long lists are a Grid. */
export function Table({ label, head, grow, numbers = NONE, rows }: TableProps) {
  return (
    <div className={styles.scroller} tabIndex={0} role="group" aria-label={label}>
      <table
        className={head.length - numbers.length > MAX_NARROW_TEXTS ? `${styles.table} ${styles.stacks}` : styles.table}
        onPointerOver={({ target }) => target instanceof Element && setTitleIfCut(target.closest('td'))}
      >
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col" className={numbers.includes(name) ? styles.number : undefined}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, cells }) => (
            <tr key={key}>
              {cells.map((cell, index) => (
                <Cell
                  key={head[index]}
                  name={head[index] ?? ''}
                  isGrowing={head[index] === grow}
                  isNumber={numbers.includes(head[index] ?? '')}
                >
                  {cell}
                </Cell>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const NONE: readonly string[] = [];

type CellProps = {
  readonly name: string;
  readonly isGrowing: boolean;
  readonly isNumber: boolean;
  readonly children: ReactNode;
};

function Cell({ name, isGrowing, isNumber, children }: CellProps) {
  if (!isGrowing) {
    return (
      <td className={isNumber ? styles.number : undefined} data-name={name}>
        {children}
      </td>
    );
  }
  return (
    <td className={styles.grow} data-name={name}>
      <div>{children}</div>
    </td>
  );
}
