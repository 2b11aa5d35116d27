import { messages } from '../messages.ts';
import { useCopy } from './copy.tsx';
import styles from './id.module.css';
import { shortened, visibleLine } from './visible-text.ts';

type IdProps = { readonly value: string; readonly length?: number };

/** An id, shortened in the middle: a click copies all of it, and focus shows it. */
export function Id({ value, length }: IdProps) {
  const { isCopied, copy } = useCopy();
  const full = visibleLine(value);
  return (
    <button
      type="button"
      className={styles.id}
      title={messages.copyId(full)}
      onClick={(event) => {
        event.stopPropagation();
        void copy(value);
      }}
    >
      <span className={styles.short}>{isCopied ? messages.copied : shortened(full, length)}</span>
      <span className={styles.full}>{full}</span>
    </button>
  );
}
