import { type RefObject, useCallback, useLayoutEffect, useRef, useState } from 'react';

/** Height of a row in pixels; the style sheet has the same. */
export const ROW = 32;
/** Rows above and below those in view, so that scrolling shows no gaps. */
const OVERSCAN = 12;

type Viewed = { readonly length: number; readonly inserted: number };

/**
 * The width of the list, the rows in view as a range whose end is excluded, and the number from which rows are counted: a row
 * keeps its number, and so its elements, while others are inserted. When all rows in view are other ones, they get the numbers and the
 * elements of those that were there, because making elements costs more than changing their texts.
 */
export function useView(scroller: RefObject<HTMLElement | null>, { length, inserted }: Viewed) {
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
