import type { ReactNode } from 'react';
import type { Action } from '../graphql/use-action.ts';
import { Dialog } from './dialog.tsx';
import { Form, FormButtons } from './field.tsx';

type ConfirmProps = {
  readonly title: string;
  /** The effect of the action. */
  readonly children: ReactNode;
  readonly confirm: string;
  /** Default: danger, for an action that cannot be undone. */
  readonly kind?: 'primary' | 'danger';
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
};

/** Asks before an action. */
export function Confirm({ title, children, confirm, kind = 'danger', action, onConfirm, onClose }: ConfirmProps) {
  return (
    <Dialog title={title} onClose={onClose}>
      <Form
        onSubmit={onConfirm}
        failure={action.failure}
        actions={<FormButtons submit={confirm} isDisabled={action.isRunning} kind={kind} onDismiss={onClose} />}
      >
        <p>{children}</p>
      </Form>
    </Dialog>
  );
}
