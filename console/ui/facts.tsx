import { type ReactNode, useLayoutEffect, useRef, useState } from 'react';
import { messages } from '../messages.ts';
import { Button } from './button.tsx';
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
            <dd>
              <Value name={fact.name}>{fact.value}</Value>
            </dd>
          </div>
        ),
      )}
    </dl>
  );
}

/** A value of up to four lines, and a button that shows all of a longer one. */
function Value({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  const value = useRef<HTMLDivElement>(null);
  const [isCut, setCut] = useState(false);
  const [isOpen, setOpen] = useState(false);
  useLayoutEffect(() => {
    const { current } = value;
    if (current === null) return undefined;
    const observer = new ResizeObserver(() => {
      // An open value is not cut, nor is one with the focus: their button stays.
      if (!current.matches(`.${styles.open}, :focus-within`)) setCut(current.scrollHeight > current.clientHeight);
    });
    observer.observe(current);
    return () => observer.disconnect();
  }, []);
  return (
    <>
      <div ref={value} className={isOpen ? `${styles.value} ${styles.open}` : styles.value}>
        {children}
      </div>
      {isCut && (
        <Button
          kind="quiet"
          aria-expanded={isOpen}
          aria-label={messages.wholeValue(name)}
          onClick={() => setOpen(!isOpen)}
        >
          {isOpen ? messages.showLess : messages.showAll}
        </Button>
      )}
    </>
  );
}
