import { useEffect, useRef } from 'react';

/** Calls `onKey` for a key outside of fields. A modifier is written before the key: `mod+k` is Ctrl K or ⌘ K. */
export function useHotkey(key: string, onKey: () => void): void {
  const latest = useRef(onKey);
  useEffect(() => {
    latest.current = onKey;
  });
  useEffect(() => {
    const listener = (event: KeyboardEvent) => {
      const isModified = event.ctrlKey || event.metaKey;
      const pressed = isModified ? `mod+${event.key.toLowerCase()}` : event.key;
      if (event.altKey || pressed !== key || (!isModified && isTyping(event.target))) return;
      // An open dialog handles all keys.
      if (document.querySelector('dialog[open]') !== null) return;
      event.preventDefault();
      latest.current();
    };
    document.addEventListener('keydown', listener);
    return () => document.removeEventListener('keydown', listener);
  }, [key]);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]');
}
