import { useState } from 'react';
import { useClient } from 'urql';
import { DeliverThese } from '../events/deliver-these.tsx';
import {
  FilteredSubscriptionDocument,
  type SubscriptionSettingsFragment,
  UpdateSubscriptionDocument,
} from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Diff } from '../ui/diff.tsx';
import { Form, FormButtons } from '../ui/field.tsx';
import { textOfFilter } from './compare.ts';
import { filterPlaygroundWords as words } from './messages.ts';

type SaveFilterProps = {
  /** The saved subscription. It is read again after a conflict. */
  readonly subscription: SubscriptionSettingsFragment;
  /** Null removes the filter. */
  readonly filter: unknown;
  /** Events that the new filter matches and the saved one did not. */
  readonly gained: readonly { readonly id: string; readonly createdAt: string }[];
  readonly onClose: () => void;
};

/** Shows the change, saves it unless another user has saved meanwhile, and offers to deliver the missed events. */
export function SaveFilter({ subscription, filter, gained, onClose }: SaveFilterProps) {
  const client = useClient();
  const action = useAction(UpdateSubscriptionDocument, (data) => data.updateWebhookSubscription);
  const [missed, setMissed] = useState<readonly string[]>();
  const [isBusy, setBusy] = useState(false);
  const { id, updatedAt } = subscription;
  const save = async () => {
    // An event from before the subscription was not missed.
    const events = gained.filter(({ createdAt }) => createdAt >= subscription.createdAt).map((event) => event.id);
    setBusy(true);
    const outcome = await action.run({ id, input: { filter }, ifUnchangedSince: updatedAt });
    if (outcome !== undefined) setMissed(events);
    else await client.query(FilteredSubscriptionDocument, { id }, { requestPolicy: 'network-only' }).toPromise();
    setBusy(false);
  };
  if (missed !== undefined) {
    return (
      <DeliverThese
        title={words.saved}
        text={missed.length > 0 ? words.missed(missed.length) : words.saveHint}
        subscriptionId={id}
        eventIds={missed}
        onClose={onClose}
      />
    );
  }
  const isConflict = action.failure?.code === 'SUBSCRIPTION_CHANGED';
  return (
    <Dialog title={words.saveTitle} onClose={onClose}>
      <Form
        onSubmit={save}
        failure={isConflict ? { message: words.conflict } : action.failure}
        actions={<FormButtons submit={messages.save} isDisabled={isBusy} onDismiss={onClose} />}
      >
        <p>{words.saveHint}</p>
        <Diff
          label={words.saveTitle}
          before={textOfFilter(subscription.filter) || words.noFilter}
          after={textOfFilter(filter) || words.noFilter}
          words={words}
        />
      </Form>
    </Dialog>
  );
}
