import { type ReactNode, useState } from 'react';
import { DeliverEventsDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons } from '../ui/field.tsx';
import { deliverTheseWords as words } from './messages.ts';

type DeliverTheseProps = {
  readonly title: string;
  /** A description of the events, or the reason why there are none. */
  readonly text: string;
  /** A second paragraph, which stays after the delivery. */
  readonly more?: string;
  /** Actions beside those of the dialog. */
  readonly actions?: ReactNode;
  readonly subscriptionId: string;
  /** Publishers' ids, at most 200. */
  readonly eventIds: readonly string[];
  readonly onClose: () => void;
};

/** Offers to deliver past events to a subscription that did not get them. */
export function DeliverThese({ title, text, more, actions, subscriptionId, eventIds, onClose }: DeliverTheseProps) {
  const action = useAction(DeliverEventsDocument, (data) => data.deliverEvents);
  const [created, setCreated] = useState<number>();
  const deliver = async () => {
    const payload = await action.run({ input: { subscriptionId, eventIds: [...eventIds] } });
    if (payload !== undefined) setCreated(payload.deliveries.length);
  };
  const canDeliver = eventIds.length > 0 && created === undefined;
  return (
    <Dialog title={title} onClose={onClose}>
      <Form
        onSubmit={canDeliver ? deliver : onClose}
        failure={action.failure}
        actions={
          <>
            {actions}
            {canDeliver ? (
              <FormButtons
                submit={words.deliver(eventIds.length)}
                isDisabled={action.isRunning}
                dismiss={messages.close}
                onDismiss={onClose}
              />
            ) : (
              <Button kind="primary" type="submit">
                {messages.done}
              </Button>
            )}
          </>
        }
      >
        <p role="status">{created === undefined ? text : words.delivered(created)}</p>
        {more !== undefined && <p>{more}</p>}
      </Form>
    </Dialog>
  );
}
