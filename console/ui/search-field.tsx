import styles from './search-field.module.css';
import { useDebounced } from './use-debounced.ts';

type SearchFieldProps = {
  /** The name of the field, also shown while it is empty. */
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly maxLength?: number;
};

/** A field that filters a list, in the title of a page. */
export function SearchField({ label, value, onChange, maxLength = 200 }: SearchFieldProps) {
  const { text, type } = useDebounced(value, onChange);
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
      onChange={({ target }) => type(target.value)}
    />
  );
}
