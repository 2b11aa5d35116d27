import { useEffect, useRef, useState } from 'react';
import styles from './search-field.module.css';

/** Milliseconds without a key after which the text is passed on: each text is another query. */
const TYPING_PAUSE_MS = 250;

type SearchFieldProps = {
  /** The name of the field, also shown while it is empty. */
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly maxLength?: number;
};

/** A field that filters a list, in the title of a page. */
export function SearchField({ label, value, onChange, maxLength = 200 }: SearchFieldProps) {
  const [text, setText] = useState(value);
  const [passed, setPassed] = useState(value);
  const timer = useRef<number>(undefined);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  // The address changed by other means, such as back.
  if (passed !== value) {
    setPassed(value);
    setText(value);
  }
  return (
    <input
      type="search"
      className={styles.field}
      aria-label={label}
      placeholder={label}
      spellCheck={false}
      autoComplete="off"
      maxLength={maxLength}
      value={text}
      onChange={({ target }) => {
        setText(target.value);
        window.clearTimeout(timer.current);
        timer.current = window.setTimeout(() => {
          setPassed(target.value);
          onChange(target.value);
        }, TYPING_PAUSE_MS);
      }}
    />
  );
}
