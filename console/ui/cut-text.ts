/** Gives a cell its text as a title while some of it is cut off, and no title otherwise. */
export function setTitleIfCut(cell: HTMLElement | null | undefined): void {
  if (cell == null) return;
  const isCut = [cell, ...cell.querySelectorAll('*')].some(
    (element) => element.scrollWidth > element.clientWidth && getComputedStyle(element).overflowX === 'hidden',
  );
  // The parts of a mark are blocks, which innerText separates with line breaks.
  cell.title = isCut ? cell.innerText.replaceAll('\n', ' ') : '';
}
