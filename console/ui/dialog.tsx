import { type ReactNode, useEffect, useRef } from 'react';
import { messages } from '../messages.ts';
import { IconButton } from './button.tsx';
import styles from './dialog.module.css';

type DialogProps = { readonly title: string; readonly onClose: () => void; readonly children: ReactNode };

/** A native modal dialog: the browser keeps the focus inside, and returns it at the end. Escape closes. */
export function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={styles.dialog}
      aria-label={title}
      onClose={onClose}
      onClick={(event) => {
        // The backdrop belongs to the element itself.
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div className={styles.head}>
        <h2>{title}</h2>
        <IconButton icon="close" label={messages.close} onClick={onClose} />
      </div>
      <div className={styles.body}>{children}</div>
    </dialog>
  );
}
