import { type ReactNode, useEffect, useRef } from 'react';
import { messages } from '../messages.ts';
import { IconButton } from './button.tsx';
import styles from './dialog.module.css';

type DialogProps = { readonly title: string; readonly onClose: () => void; readonly children: ReactNode };

/** A native modal dialog: the browser keeps the focus inside, and returns it at the end. The first field gets it. Escape closes. */
export function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const body = useRef<HTMLDivElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
    // The browser would choose the button that closes. React's autoFocus comes before the dialog is shown.
    body.current?.querySelector<HTMLElement>('input, select, textarea')?.focus();
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
      <div ref={body} className={styles.body}>
        {children}
      </div>
    </dialog>
  );
}
