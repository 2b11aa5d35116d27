import { messages } from '../messages.ts';
import { Button } from './button.tsx';
import styles from './filter-chip.module.css';
import { visibleLine } from './visible-text.ts';

type FilterChipProps = { readonly name: string; readonly value: string; readonly onRemove: () => void };

/** A filter of a list that came with a link: shown, and removed with a click. */
export function FilterChip({ name, value, onRemove }: FilterChipProps) {
  const shown = visibleLine(value);
  const label = messages.removeFilter(name, shown);
  return (
    <Button icon="close" title={label} aria-label={label} onClick={onRemove}>
      <span className={styles.chip}>
        {name} <code>{shown}</code>
      </span>
    </Button>
  );
}
