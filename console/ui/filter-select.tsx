import { SelectField, type SelectProps } from './field.tsx';
import styles from './filter-select.module.css';

/** A selection that filters a list, in the title of a page: its label is at its left. */
export function FilterSelect<Value extends string>(
  props: Pick<SelectProps<Value>, 'label' | 'value' | 'options' | 'onChange'>,
) {
  return (
    <div className={styles.filter}>
      <SelectField {...props} />
    </div>
  );
}
