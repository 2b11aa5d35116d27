import { type RefObject, useCallback, useLayoutEffect, useRef, useState } from 'react';

/** Height of a row in pixels; the style sheet has the same. */
export const ROW = 32;
/** Rows above and below those in view, so that scrolling shows no gaps. */
const OVERSCAN = 12;

/** Rows by index, so that a list of thousands need not be an array. */
export type Rows<Row> = { readonly length: number; at(index: number): Row | undefined };

type Keyed<Row> = { readonly rows: Rows<Row>; readonly rowKey: (row: Row) => string };
type Viewed<Row> = Keyed<Row> & { readonly inserted: number | undefined };

/**
 * The width of the list, the rows in view as a range whose end is excluded, and the number from which rows are counted: a row
 * keeps its number, and so its elements, while others are inserted. When all rows in view are other ones, they get the numbers and the
 * elements of those that were there, because making elements costs more than changing their texts.
 */
export function useView<Row>(scroller: RefObject<HTMLElement | null>, viewed: Viewed<Row>) {
  const { inserted = 0 } = viewed;
  const { length } = viewed.rows;
  const [view, setView] = useState({ top: 0, height: 1_000, width: window.innerWidth, inserted });
  const latest = useRef(inserted);
  useLayoutEffect(() => {
    latest.current = inserted;
  });
  const measure = useCallback(() => {
    const { current } = scroller;
    if (current === null) return;
    const { scrollTop: top, clientHeight: height, clientWidth: width } = current;
    setView((last) => {
      const isSame = topOf(last, latest.current) === top && last.height === height && last.width === width;
      return isSame ? last : { top, height, width, inserted: latest.current };
    });
  }, [scroller]);
  useLayoutEffect(() => {
    if (scroller.current === null) return undefined;
    // Also calls once at the start.
    const observer = new ResizeObserver(measure);
    observer.observe(scroller.current);
    return () => observer.disconnect();
  }, [scroller, measure]);
  useKeptPlace(scroller, { ...viewed, measure });
  const top = topOf(view, inserted);
  const first = Math.max(0, Math.min(Math.floor(top / ROW) - OVERSCAN, length - 1));
  const last = Math.min(length, Math.ceil((top + view.height) / ROW) + OVERSCAN);
  const [counted, setCounted] = useState({ inserted, origin: 0 });
  if (counted.inserted !== inserted) {
    const added = inserted - counted.inserted;
    setCounted({ inserted, origin: counted.origin + (top === 0 && added >= last - first ? added : 0) });
  }
  return { first, last: Math.max(first, last), width: view.width, origin: counted.origin, onScroll: measure };
}

/** The rows in view keep their place when others above them are inserted or leave, except at the top. */
function useKeptPlace<Row>(
  scroller: RefObject<HTMLElement | null>,
  { rows, rowKey, inserted, measure }: Viewed<Row> & { readonly measure: () => void },
): void {
  const shown = useRef({ rows, first: 0, inserted });
  useLayoutEffect(() => {
    const { current: element } = scroller;
    const { current: before } = shown;
    shown.current = { ...before, rows, inserted };
    if (element === null) return;
    const added =
      inserted === undefined ? rowsAbove(before, { rows, rowKey }) : inserted - (before.inserted ?? inserted);
    if (added !== 0 && element.scrollTop > 0) {
      element.scrollBy(0, added * ROW);
      if (inserted === undefined) measure();
    }
    if (inserted === undefined) shown.current.first = Math.floor(element.scrollTop / ROW);
  });
}

/** How many rows have been inserted above the first row that was in view; fewer than 0 if rows left. */
export function rowsAbove<Row>(
  before: { readonly rows: Rows<Row>; readonly first: number },
  { rows, rowKey }: Keyed<Row>,
): number {
  for (let place = before.first; place < before.first + OVERSCAN; place += 1) {
    const row = before.rows.at(place);
    if (row === undefined) break;
    const now = placeOf({ rows, rowKey }, rowKey(row), place);
    // If the first row has left, the next one gets its place.
    if (now !== undefined) return now - before.first;
  }
  return 0;
}

/** Rows above and below its last place among which a row is searched for. */
const MAX_MOVE = 5_000;

/** The place of a row, searched for from where it was; undefined if it has left. */
export function placeOf<Row>({ rows, rowKey }: Keyed<Row>, key: string, near: number): number | undefined {
  const isAt = (place: number) => {
    const row = place < 0 ? undefined : rows.at(place);
    return row !== undefined && rowKey(row) === key;
  };
  for (let distance = 0; distance <= MAX_MOVE; distance += 1) {
    if (isAt(near + distance)) return near + distance;
    if (isAt(near - distance)) return near - distance;
  }
  return undefined;
}

/** The list is scrolled with the rows that have been inserted since it was measured, except at the top. */
function topOf(measured: { readonly top: number; readonly inserted: number }, inserted: number): number {
  return measured.top > 0 ? measured.top + (inserted - measured.inserted) * ROW : 0;
}

/** Scrolls as little as possible; the head of the list covers a row of it. */
export function scrollIntoView(scroller: HTMLElement | null, index: number): void {
  if (scroller === null) return;
  const top = index * ROW;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top + 2 * ROW > scroller.scrollTop + scroller.clientHeight) {
    scroller.scrollTop = top + 2 * ROW - scroller.clientHeight;
  }
}
