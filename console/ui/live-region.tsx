import { createStore, useStore } from '../graphql/store.ts';

const announcement = createStore('');

/** Screen readers read the text at their next pause. */
export function announce(text: string): void {
  // The same text twice is read twice.
  announcement.set(announcement.get() === text ? `${text}\u00a0` : text);
}

export function LiveRegion() {
  return (
    <div role="status" aria-live="polite" className="visually-hidden">
      {useStore(announcement)}
    </div>
  );
}
