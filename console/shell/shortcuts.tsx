import { useState } from 'react';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import styles from './shortcuts.module.css';
import { useHotkey } from './use-hotkey.ts';

/** `?` lists the keys. */
export function Shortcuts() {
  const [isOpen, setOpen] = useState(false);
  useHotkey('?', () => setOpen(true));
  if (!isOpen) return null;
  return (
    <Dialog title={messages.shortcuts.title} onClose={() => setOpen(false)}>
      <dl className={styles.list}>
        {messages.shortcuts.rows.map(([keys, meaning]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
