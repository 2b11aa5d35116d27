import type { ReactNode } from 'react';
import type { Action } from '../graphql/use-action.ts';
import { Dialog } from './dialog.tsx';
import { Form, FormButtons } from './field.tsx';

type ConfirmProps = {
  readonly title: string;
  /** The effect of the action. */
  readonly children: ReactNode;
  readonly confirm: string;
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
};

/** Asks before an action that cannot be undone. */
export function Confirm({ title, children, confirm, action, onConfirm, onClose }: ConfirmProps) {
  return (
    <Dialog title={title} onClose={onClose}>
      <Form
        onSubmit={onConfirm}
        failure={action.failure}
        actions={<FormButtons submit={confirm} isDisabled={action.isRunning} kind="danger" onDismiss={onClose} />}
      >
        <p>{children}</p>
      </Form>
    </Dialog>
  );
}
