import { useState } from 'react';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import styles from './shortcuts.module.css';
import { useHotkey } from './use-hotkey.ts';

/** `?` lists the keys, and the terms of the filter that `/` leads to. */
export function Shortcuts() {
  const [isOpen, setOpen] = useState(false);
  useHotkey('?', () => setOpen(true));
  if (!isOpen) return null;
  const { title, rows, filterTitle, terms } = messages.shortcuts;
  return (
    <Dialog title={title} onClose={() => setOpen(false)}>
      <List rows={rows} />
      <h3 className={styles.heading}>{filterTitle}</h3>
      <List rows={terms} />
    </Dialog>
  );
}

function List({ rows }: { readonly rows: readonly (readonly [string, string])[] }) {
  return (
    <dl className={styles.list}>
      {rows.map(([keys, meaning]) => (
        <div key={keys}>
          <dt>
            <kbd>{keys}</kbd>
          </dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}
