import { type ReactNode, useState } from 'react';
import type { Action } from '../graphql/use-action.ts';
import { Dialog } from './dialog.tsx';
import { Form, FormButtons, TextField } from './field.tsx';

type ConfirmProps = {
  readonly title: string;
  /** The effect of the action. */
  readonly children: ReactNode;
  readonly confirm: string;
  /** Default: danger, for an action that cannot be undone. */
  readonly kind?: 'primary' | 'danger';
  /** A text that has to be typed first, and what it is. */
  readonly typed?: { readonly label: string; readonly text: string };
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  readonly onConfirm: () => Promise<void>;
  readonly onClose: () => void;
};

/** Asks before an action. */
export function Confirm({
  title,
  children,
  confirm,
  kind = 'danger',
  typed,
  action,
  onConfirm,
  onClose,
}: ConfirmProps) {
  const [text, setText] = useState('');
  const isDisabled = action.isRunning || (typed !== undefined && text.trim() !== typed.text);
  return (
    <Dialog title={title} onClose={onClose}>
      <Form
        onSubmit={onConfirm}
        failure={action.failure}
        actions={<FormButtons submit={confirm} isDisabled={isDisabled} kind={kind} onDismiss={onClose} />}
      >
        <p>{children}</p>
        {typed !== undefined && <TextField label={typed.label} value={text} onChange={setText} />}
      </Form>
    </Dialog>
  );
}
