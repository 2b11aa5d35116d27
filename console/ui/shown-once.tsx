import { messages } from '../messages.ts';
import { CopyIcon } from './copy.tsx';
import { Icon } from './icons.tsx';
import styles from './shown-once.module.css';

type ShownOnceProps = { readonly label: string; readonly value: string; readonly hint: string };

/** A secret directly after its creation: the server never shows it again, and the console keeps it nowhere. */
export function ShownOnce({ label, value, hint }: ShownOnceProps) {
  return (
    <div className={styles.box}>
      <p className={styles.label}>
        <Icon name="key" /> {label}
      </p>
      <div className={styles.value}>
        <code>{value}</code>
        <CopyIcon text={value} label={messages.copySecret} />
      </div>
      <p className={styles.hint}>{hint}</p>
    </div>
  );
}
