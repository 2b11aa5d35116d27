import { useState } from 'react';
import { DeliverEventsDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { Confirm } from '../ui/confirm.tsx';
import { announce } from '../ui/live-region.tsx';
import { splitUrl, visibleLine } from '../ui/visible-text.ts';
import { eventWords as words } from './messages.ts';

type DeliverAnywayProps = {
  readonly event: { readonly id: string; readonly type: string };
  readonly subscription: { readonly id: string; readonly url: string };
  readonly onClose: () => void;
  readonly onDelivered: () => void;
};

/** Asks for confirmation, then creates a delivery of the event to a subscription that did not get it. */
export function DeliverAnyway({ event, subscription, onClose, onDelivered }: DeliverAnywayProps) {
  const action = useAction(DeliverEventsDocument, (data) => data.deliverEvents);
  const [isPending, setPending] = useState(false);
  const deliver = async () => {
    const payload = await action.run({ input: { subscriptionId: subscription.id, eventIds: [event.id] } });
    if (payload === undefined) return;
    if (payload.deliveries.length === 0) {
      setPending(true);
      return;
    }
    announce(words.delivered);
    onClose();
    onDelivered();
  };
  return (
    <Confirm
      title={words.deliverTitle}
      confirm={words.deliver}
      kind="primary"
      action={isPending ? { ...action, failure: { message: words.alreadyPending } } : action}
      onClose={onClose}
      onConfirm={deliver}
    >
      {words.deliverHint(visibleLine(event.type), splitUrl(subscription.url)?.host ?? visibleLine(subscription.url))}
    </Confirm>
  );
}
