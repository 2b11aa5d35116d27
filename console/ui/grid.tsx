import {
  type CSSProperties,
  type KeyboardEvent,
  type MouseEvent,
  memo,
  type ReactNode,
  type Ref,
  useEffect,
  useEffectEvent,
  useId,
  useImperativeHandle,
  useMemo,
  useRef,
  useState,
} from 'react';
import { setTitleIfCut } from './cut-text.ts';
import styles from './grid.module.css';
import { placeOf, ROW, type Rows, scrollIntoView, useView } from './grid-view.ts';

export type Column<Row> = {
  readonly key: string;
  readonly header: string;
  /** A track of CSS grid, such as `96px` or `minmax(120px, 2fr)`. */
  readonly width: string;
  readonly align?: 'end';
  /** The list must be this wide in pixels for the column to be shown. */
  readonly from?: number;
  /** The list must be narrower than this for the column to be shown. */
  readonly below?: number;
  readonly cell: (row: Row) => ReactNode;
};

/** The width of the column of tenants, whose names can be 64 characters long: wider in a wide list. */
export const TENANT_WIDTH = 'clamp(72px, 14%, 180px)';

/** The rows are a tree: each branch is followed by the rows in it, unless it is closed. */
export type Branches<Row> = {
  /** 1 at the top. */
  readonly levelOf: (row: Row) => number;
  /** Undefined for rows that are no branches. */
  readonly isOpen: (row: Row) => boolean | undefined;
  readonly toggle: (row: Row) => void;
};

export type GridHandle = { focus(): void };

export type GridProps<Row> = {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: Rows<Row>;
  readonly rowKey: (row: Row) => string;
  /** Enter or a click. */
  readonly onOpen?: (row: Row) => void;
  /** The row whose details are shown beside the list. */
  readonly openKey?: string | undefined;
  /** Other keys, with the row and the column under the cursor. */
  readonly onKey?: (key: string, row: Row, column: string) => boolean;
  /** Called when the last rows come into view. */
  readonly onEnd?: (() => void) | undefined;
  /**
   * For rows that change in place: the number of those that were inserted at the top so far. Otherwise the list finds by
   * their keys how far rows have moved.
   */
  readonly inserted?: number;
  /** The arrows to the left and right close and open branches, in place of selecting a column. */
  readonly branches?: Branches<Row> | undefined;
  readonly empty?: ReactNode;
  readonly ref?: Ref<GridHandle>;
};

/**
 * A list with fixed rows of 32 px of which only those in view are in the document. One tab stop: arrows, `j` and `k`, Home,
 * End and Page keys move the cursor, Enter opens.
 */
export function Grid<Row>(props: GridProps<Row>) {
  const { label, rows, rowKey, onOpen, openKey, onEnd, inserted, branches, empty, ref } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const { first, last, width, origin, onScroll } = useView(scroller, { rows, rowKey, inserted });
  const columns = useMemo(
    () => props.columns.filter(({ from = 0, below = Infinity }) => width >= from && width < below),
    [props.columns, width],
  );
  const id = useId();
  const [cursor, setCursor] = useState({ key: undefined as string | undefined, index: 0, column: 0 });
  useImperativeHandle(ref, () => ({ focus: () => scroller.current?.focus() }), []);

  const [opened, setOpened] = useState<string>();
  // A link, or the page, opened another row than the one under the cursor.
  if (opened !== openKey) {
    setOpened(openKey);
    if (openKey !== undefined && openKey !== cursor.key) setCursor({ key: openKey, index: 0, column: 0 });
  }
  const index = placeOfCursor(rows, { ...cursor, rowKey });
  const atCursor = rows.at(index);
  const isAtOpen = atCursor !== undefined && rowKey(atCursor) === openKey;
  const showCursor = useEffectEvent(() => scrollIntoView(scroller.current, index));
  useEffect(() => {
    if (isAtOpen) showCursor();
  }, [isAtOpen, openKey]);

  useEffect(() => {
    // Measuring costs a layout: only for a cursor that is shown.
    if (document.activeElement === scroller.current)
      setTitleIfCut(scroller.current?.querySelector<HTMLElement>(`.${styles.cell}`));
  }, [atCursor, cursor.column, columns]);

  const isNearEnd = rows.length > 0 && last >= rows.length - 20;
  useEffect(() => {
    if (isNearEnd) onEnd?.();
  }, [isNearEnd, rows.length, onEnd]);

  const moveTo = (target: number, column = cursor.column) => {
    const next = Math.max(0, Math.min(rows.length - 1, target));
    const row = rows.at(next);
    setCursor({ key: row === undefined ? undefined : rowKey(row), index: next, column });
    scrollIntoView(scroller.current, next);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== event.currentTarget) return;
    if (branchOut(event.key) || move(event.key) || act(event.key)) event.preventDefault();
  };
  /** Whether the key is for a tree. */
  const branchOut = (key: string): boolean => {
    const row = rows.at(index);
    if (branches === undefined || row === undefined || !['ArrowLeft', 'ArrowRight'].includes(key)) return false;
    const isOpen = branches.isOpen(row);
    if (isOpen === (key === 'ArrowLeft')) branches.toggle(row);
    else moveTo(key === 'ArrowLeft' ? placeOfBranch(rows, branches, index) : index + (isOpen === true ? 1 : 0));
    return true;
  };
  /** Whether the key moves the cursor. */
  const move = (key: string): boolean => {
    const step = stepOf(key, scroller.current?.clientHeight ?? 0);
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[key];
    // The first key shows the cursor where it is.
    if (step !== undefined) moveTo(cursor.key === undefined && step === 1 ? index : index + step);
    else if (sideways !== undefined) moveTo(index, Math.max(0, Math.min(columns.length - 1, cursor.column + sideways)));
    else return false;
    return true;
  };
  const act = (key: string): boolean => {
    const row = rows.at(index);
    if (row === undefined) return false;
    if (key !== 'Enter') return props.onKey?.(key, row, columns[cursor.column]?.key ?? '') === true;
    onOpen?.(row);
    return true;
  };
  const isShown = index >= first && index < last && rows.length > 0;
  return (
    <div
      ref={scroller}
      role={branches === undefined ? 'grid' : 'treegrid'}
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-colcount={columns.length}
      aria-activedescendant={isShown ? id : undefined}
      tabIndex={0}
      className={styles.grid}
      // Through the CSSOM: the content security policy permits no style attributes in HTML.
      style={{ '--columns': columns.map((column) => column.width).join(' ') } as CSSProperties}
      onKeyDown={onKeyDown}
      onScroll={onScroll}
      onPointerOver={({ target }) =>
        target instanceof Element && setTitleIfCut(target.closest<HTMLElement>('[role=gridcell]'))
      }
    >
      <div role="rowgroup" className={styles.head}>
        <div role="row" aria-rowindex={1} className={styles.row}>
          {columns.map(({ key, header, align }) => (
            <div key={key} role="columnheader" className={align === 'end' ? styles.end : undefined}>
              {header}
            </div>
          ))}
        </div>
      </div>
      {rows.length === 0 ? (
        <div role="rowgroup">
          <div role="row">
            <div role="gridcell">{empty}</div>
          </div>
        </div>
      ) : (
        <div role="rowgroup" className={styles.body} style={{ height: rows.length * ROW }}>
          {Array.from({ length: last - first }, (_, offset) => {
            const place = first + offset;
            const row = rows.at(place);
            if (row === undefined) return null;
            const key = rowKey(row);
            const cursorId = place === index ? id : undefined;
            return (
              <div
                key={(inserted ?? 0) - place - origin}
                role="row"
                // The cursor of a tree is on rows, that of a list on cells.
                id={branches && cursorId}
                aria-level={branches?.levelOf(row)}
                aria-expanded={branches?.isOpen(row)}
                aria-rowindex={place + 2}
                aria-selected={key === openKey}
                className={place === index ? `${styles.row} ${styles.cursor}` : styles.row}
                style={{ transform: `translateY(${place * ROW}px)` }}
                onClick={(event) => {
                  setCursor({ key, index: place, column: columnOf(event) });
                  onOpen?.(row);
                }}
              >
                <MemoCells
                  {...{ row, columns }}
                  cursor={branches || !cursorId ? NO_CURSOR : { id, column: cursor.column }}
                />
              </div>
            );
          })}
        </div>
      )}
    </div>
  );
}

type Cursor = { readonly id: string; readonly column: number };
const NO_CURSOR: Cursor = { id: '', column: -1 };

type CellsProps<Row> = { readonly row: Row; readonly columns: readonly Column<Row>[]; readonly cursor: Cursor };

function Cells<Row>({ row, columns, cursor }: CellsProps<Row>): ReactNode {
  return columns.map(({ key, align, cell }, column) => (
    <div
      key={key}
      id={column === cursor.column ? cursor.id : undefined}
      role="gridcell"
      aria-colindex={column + 1}
      className={`${align === 'end' ? styles.end : ''} ${column === cursor.column ? styles.cell : ''}`}
    >
      {cell(row)}
    </div>
  ));
}

/** Cells are rendered again only when their row is another one, not when the row moves. `as`: memo drops the type parameter. */
const MemoCells = memo(Cells) as typeof Cells;

function columnOf({ currentTarget, target }: MouseEvent): number {
  return [...currentTarget.children].findIndex((cell) => target instanceof Node && cell.contains(target));
}

/** The number of rows that a key moves the cursor by; undefined for other keys. */
function stepOf(key: string, height: number): number | undefined {
  const page = Math.max(1, Math.floor(height / ROW) - 2);
  const steps: Readonly<Record<string, number>> = {
    ...{ ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 },
    ...{ PageDown: page, PageUp: -page, Home: Number.NEGATIVE_INFINITY, End: Number.POSITIVE_INFINITY },
  };
  return steps[key];
}

/** The place of the branch that a row is in; of a row at the top its own. */
function placeOfBranch<Row>(rows: Rows<Row>, { levelOf }: Branches<Row>, place: number): number {
  const levelAt = (index: number) => levelOf(rows.at(index) as Row);
  let above = place;
  while (above > 0 && levelAt(above) >= levelAt(place)) above -= 1;
  return levelAt(above) < levelAt(place) ? above : place;
}

type Sought<Row> = {
  readonly key: string | undefined;
  readonly rowKey: (row: Row) => string;
  readonly index: number;
};

/** The cursor stays on its row when others above it are inserted or leave; if the row is gone, on its place. */
function placeOfCursor<Row>(rows: Rows<Row>, { key, rowKey, index: near }: Sought<Row>): number {
  const place = key === undefined ? undefined : placeOf({ rows, rowKey }, key, near);
  return place ?? Math.max(0, Math.min(near, rows.length - 1));
}
