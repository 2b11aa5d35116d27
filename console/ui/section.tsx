import { type ReactNode, useId } from 'react';
import styles from './section.module.css';

type SectionProps = {
  readonly title: string;
  readonly hint?: string | undefined;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
};

/** A part of a page with a heading, a line above it, and its actions at the right. */
export function Section({ title, hint, actions, children }: SectionProps) {
  const id = useId();
  return (
    <section aria-labelledby={id} className={styles.section}>
      <div className={styles.head}>
        <h2 id={id}>{title}</h2>
        {hint !== undefined && <p>{hint}</p>}
        <span className={styles.actions}>{actions}</span>
      </div>
      {children}
    </section>
  );
}
