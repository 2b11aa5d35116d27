import { type ReactNode, useLayoutEffect, useRef } from 'react';
import { messages } from '../messages.ts';
import { IconButton } from './button.tsx';
import styles from './dialog.module.css';

type DialogProps = { readonly title: string; readonly onClose: () => void; readonly children: ReactNode };

/**
 * A native modal dialog: the browser keeps the focus inside, and returns it at the end. The first field gets it. Escape and a
 * click beside the dialog close it, but neither while a form is being submitted or a secret is shown.
 */
export function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const isEdited = useRef(false);
  const isBeside = useRef(false);
  const isShown = useRef(false);
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    isShown.current = true;
    // The browser would choose the button that closes. React's autoFocus comes before the dialog is shown.
    body.current?.querySelector<HTMLElement>('input, select, textarea')?.focus();
    // The event `cancel` is of no use: browsers close at a second Escape in any case.
    const onKey = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && isKept(body.current)) event.preventDefault();
    };
    window.addEventListener('keydown', onKey);
    // Only close() returns the focus, and only while the element is in the document.
    return () => {
      window.removeEventListener('keydown', onKey);
      isShown.current = false;
      element?.close();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={styles.dialog}
      aria-label={title}
      onClose={({ currentTarget }) => {
        // The event is late: its page can have left, or be shown again after its code was loaded.
        if (!isShown.current || currentTarget.open) return;
        // A phone's gesture to go back closes as well.
        if (isKept(body.current)) currentTarget.showModal();
        else onClose();
      }}
      onInput={({ target }) => {
        isEdited.current ||= target instanceof Element && target.closest('form') !== null;
      }}
      // The backdrop belongs to the element itself. A selection of text can start or end there.
      onPointerDown={({ target, currentTarget }) => {
        isBeside.current = target === currentTarget;
      }}
      onPointerUp={({ target, currentTarget }) => {
        isBeside.current &&= target === currentTarget;
      }}
      onClick={({ target, currentTarget }) => {
        if (target === currentTarget && isBeside.current && !isEdited.current && !isKept(body.current)) onClose();
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

/** Whether a form is being submitted or a secret is shown. */
function isKept(body: HTMLElement | null): boolean {
  return body?.querySelector('[aria-busy="true"], [data-keeps-open]') != null;
}
