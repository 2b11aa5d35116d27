import type { ReactNode } from 'react';
import styles from './facts.module.css';

type Fact = { readonly name: string; readonly value: ReactNode };

/** Names and values in a grid; facts without a value are left out. */
export function Facts({ facts }: { readonly facts: readonly (Fact | false)[] }) {
  return (
    <dl className={styles.facts}>
      {facts.map((fact) =>
        fact === false ? null : (
          <div key={fact.name}>
            <dt>{fact.name}</dt>
            <dd>{fact.value}</dd>
          </div>
        ),
      )}
    </dl>
  );
}
