import { messages } from '../messages.ts';
import { Button } from './button.tsx';
import { CopyIcon } from './copy.tsx';
import { Form } from './field.tsx';
import { Icon } from './icons.tsx';
import styles from './shown-once.module.css';

type ShownOnceProps = { readonly label: string; readonly value: string; readonly hint: string };

/**
 * A secret directly after its creation: the server never shows it again, and the console keeps it nowhere. Only the buttons of
 * its dialog close it.
 */
export function ShownOnce({ label, value, hint }: ShownOnceProps) {
  return (
    <div className={styles.box} data-keeps-open>
      <p className={styles.label}>
        <Icon name="key" /> {label}
      </p>
      <div className={styles.value}>
        <code>{value}</code>
        <CopyIcon text={value} label={messages.copySecret} autoFocus />
      </div>
      <p className={styles.hint}>{hint}</p>
    </div>
  );
}

type ShownOnceFormProps = ShownOnceProps & {
  readonly onClose: () => void;
  /** The text of the button. */
  readonly done?: string;
};

/** The content of a dialog that shows a secret directly after its creation. */
export function ShownOnceForm({ onClose, done = messages.done, ...secret }: ShownOnceFormProps) {
  return (
    <Form
      onSubmit={onClose}
      failure={undefined}
      actions={
        <Button kind="primary" type="submit">
          {done}
        </Button>
      }
    >
      <ShownOnce {...secret} />
    </Form>
  );
}
