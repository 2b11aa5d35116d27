import { useState } from 'react';
import { RedactEventDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { Button } from '../ui/button.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { erasuresWords as words } from './messages.ts';

type RedactEventProps = {
  readonly event: { readonly id: string; readonly tenant: string };
  readonly onRedacted: () => void;
};

/** A button that removes the data of an event after the user has typed its id. */
export function RedactEvent({ event: { id, tenant }, onRedacted }: RedactEventProps) {
  const [isOpen, setOpen] = useState(false);
  const action = useAction(RedactEventDocument, (data) => data.redactEvent);
  const redact = async () => {
    if ((await action.run({ id, tenant })) === undefined) return;
    setOpen(false);
    onRedacted();
  };
  return (
    <>
      <Button kind="danger" onClick={() => setOpen(true)}>
        {words.redact}
      </Button>
      {isOpen && (
        <Confirm
          title={words.redactTitle}
          confirm={words.redact}
          typed={{ label: words.typeEvent(id), text: id }}
          action={action}
          onClose={() => setOpen(false)}
          onConfirm={redact}
        >
          {words.redactHint}
        </Confirm>
      )}
    </>
  );
}
