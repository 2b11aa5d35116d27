import { useState } from 'react';
import { useLocation } from 'wouter';
import { CreateSubscriptionDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { paths } from '../paths.ts';
import { Dialog } from '../ui/dialog.tsx';
import { ShownOnceForm } from '../ui/shown-once.tsx';
import { NEW_SUBSCRIPTION } from './form-values.ts';
import { subscriptionFormWords as words } from './messages.ts';
import { SubscriptionForm } from './subscription-form.tsx';

type CreateSubscriptionProps = {
  /** The tenant that the list is filtered by, if any. */
  readonly tenant: string;
  readonly onClose: () => void;
};

/** The form of a new subscription, then its signing secret, then its page. */
export function CreateSubscription({ tenant, onClose }: CreateSubscriptionProps) {
  const { isAdmin } = useViewer();
  const [, navigate] = useLocation();
  const action = useAction(CreateSubscriptionDocument, (data) => data.createWebhookSubscription);
  const [created, setCreated] = useState<{ readonly id: string; readonly secret: string }>();
  if (created === undefined) {
    return (
      <Dialog title={words.createTitle} onClose={onClose}>
        <SubscriptionForm
          initial={{ ...NEW_SUBSCRIPTION, tenant }}
          hasTenant={isAdmin}
          submit={words.create}
          action={action}
          onClose={onClose}
          onSubmit={async (settings, values) => {
            const input = { ...settings, ...(isAdmin && { tenant: values.tenant.trim() }) };
            const payload = await action.run({ input });
            if (payload !== undefined) setCreated({ id: payload.subscription.id, secret: payload.secret });
          }}
        />
      </Dialog>
    );
  }
  const open = () => navigate(paths.subscription(created.id));
  return (
    <Dialog title={words.created} onClose={open}>
      <ShownOnceForm
        done={words.openCreated}
        label={words.secret}
        value={created.secret}
        hint={words.secretHint}
        onClose={open}
      />
    </Dialog>
  );
}
