import { messages } from '../messages.ts';
import { useCopy } from './copy.tsx';
import styles from './id.module.css';
import { visibleLine } from './visible-text.ts';

/** An id, cut in the middle where there is little space: a click copies all of it, and focus shows it. */
export function Id({ value }: { readonly value: string }) {
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
      <span className={styles.short}>{isCopied ? messages.copied : <CutInMiddle text={full} />}</span>
      <span className={styles.full}>{full}</span>
    </button>
  );
}

/** Characters at the end that are always shown. */
const TAIL = 8;

/** A text in the mono font that loses its middle where there is little space, because ids differ at both ends. */
export function CutInMiddle({ text }: { readonly text: string }) {
  if (text.length <= 2 * TAIL) return text;
  return (
    <>
      <span className={styles.head}>{text.slice(0, -TAIL)}</span>
      <span>{text.slice(-TAIL)}</span>
    </>
  );
}
