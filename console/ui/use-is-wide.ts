import { useSyncExternalStore } from 'react';

/** Details open beside a list from this width on, otherwise as a page. */
const wide = window.matchMedia('(min-width: 1200px)');

export function useIsWide(): boolean {
  return useSyncExternalStore(subscribe, () => wide.matches);
}

function subscribe(listener: () => void): () => void {
  wide.addEventListener('change', listener);
  return () => wide.removeEventListener('change', listener);
}
