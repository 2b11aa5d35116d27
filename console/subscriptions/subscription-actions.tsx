import { useState } from 'react';
import { useLocation } from 'wouter';
import {
  DeleteSubscriptionDocument,
  PauseSubscriptionDocument,
  ProbeNowDocument,
  ResumeSubscriptionDocument,
  UpdateSubscriptionDocument,
} from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { StartReplay } from '../replays/start-replay.tsx';
import { IS_PORTAL } from '../shell/front-end.ts';
import { Button } from '../ui/button.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { FailureMessage, Form, FormButtons, SelectField } from '../ui/field.tsx';
import { announce } from '../ui/live-region.tsx';
import { splitUrl } from '../ui/visible-text.ts';
import { DeliverMissed } from './deliver-missed.tsx';
import { valuesOf } from './form-values.ts';
import { subscriptionWords as words } from './messages.ts';
import { SendTest } from './send-test.tsx';
import { SubscriptionForm } from './subscription-form.tsx';
import type { SubscriptionDetails } from './subscription-page.tsx';

type Open = 'test' | 'edit' | 'pause' | 'replay' | 'missed' | 'deactivate' | 'delete';

/** The actions on a subscription, for credentials that may change it. */
export function SubscriptionActions({ subscription }: { readonly subscription: SubscriptionDetails }) {
  const { canWrite, seesAllSubscriptions, seesPayloads } = useViewer();
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);
  const { id, isActive } = subscription;
  if (!canWrite) return null;
  return (
    <>
      <Button icon="delivery" disabled={!isActive} onClick={() => setOpen('test')}>
        {words.test}
      </Button>
      {isActive && <Probe subscription={subscription} />}
      <Button onClick={() => setOpen('edit')}>{words.edit}</Button>
      {/* The page of a replay is none of the portal's. */}
      {!IS_PORTAL && (
        <Button icon="replay" disabled={!isActive} onClick={() => setOpen('replay')}>
          {words.replay}
        </Button>
      )}
      {isActive && <PauseOrResume subscription={subscription} onPause={() => setOpen('pause')} />}
      {isActive ? (
        <Button onClick={() => setOpen('deactivate')}>{words.deactivate}</Button>
      ) : (
        <Activate
          id={id}
          onActivated={() => {
            // Events that were published meanwhile are not sent without a request.
            if (seesAllSubscriptions && seesPayloads) setOpen('missed');
          }}
        />
      )}
      <Button kind="danger" onClick={() => setOpen('delete')}>
        {words.delete}
      </Button>
      {open === 'test' && <SendTest subscription={subscription} onClose={close} />}
      {open === 'edit' && <Edit subscription={subscription} onClose={close} />}
      {open === 'pause' && <Pause id={id} onClose={close} />}
      {open === 'replay' && <StartReplay tenant={subscription.tenant} subscriptionId={id} onClose={close} />}
      {open === 'missed' && <DeliverMissed subscription={subscription} onClose={close} />}
      {open === 'delete' && <Delete subscription={subscription} onClose={close} />}
      {open === 'deactivate' && <Deactivate subscription={subscription} onClose={close} />}
    </>
  );
}

type ActivateProps = { readonly id: string; readonly onActivated: () => void };

function Activate({ id, onActivated }: ActivateProps) {
  const action = useAction(UpdateSubscriptionDocument, (data) => data.updateWebhookSubscription);
  return (
    <>
      <Button
        icon="play"
        disabled={action.isRunning}
        onClick={async () => {
          if ((await action.run({ id, input: { isActive: true } })) !== undefined) onActivated();
        }}
      >
        {words.activate}
      </Button>
      <FailureMessage failure={action.failure} />
    </>
  );
}

/** For an endpoint that was repaired: its circuit closes when the probe succeeds. */
function Probe({ subscription: { id, circuit, pausedUntil } }: { readonly subscription: SubscriptionDetails }) {
  const action = useAction(ProbeNowDocument, (data) => data.probeNow);
  if (circuit.state !== 'OPEN' || pausedUntil != null) return null;
  return (
    <>
      <Button
        icon="play"
        disabled={action.isRunning}
        onClick={async () => {
          if ((await action.run({ id })) !== undefined) announce(words.probing);
        }}
      >
        {words.probe}
      </Button>
      <FailureMessage failure={action.failure} />
    </>
  );
}

type PauseProps = { readonly subscription: SubscriptionDetails; readonly onPause: () => void };

function PauseOrResume({ subscription: { id, pausedUntil }, onPause }: PauseProps) {
  const resume = useAction(ResumeSubscriptionDocument, (data) => data.resumeWebhookSubscription);
  if (pausedUntil == null) {
    return (
      <Button icon="pause" onClick={onPause}>
        {words.pause}
      </Button>
    );
  }
  return (
    <>
      <Button icon="play" disabled={resume.isRunning} onClick={() => void resume.run({ id })}>
        {words.resume}
      </Button>
      <FailureMessage failure={resume.failure} />
    </>
  );
}

const PAUSE_HOURS = [1, 8, 24, 168, 720];

function Pause({ id, onClose }: { readonly id: string; readonly onClose: () => void }) {
  const [hours, setHours] = useState(String(PAUSE_HOURS[0]));
  const action = useAction(PauseSubscriptionDocument, (data) => data.pauseWebhookSubscription);
  const pause = async () => {
    const until = new Date(Date.now() + Number(hours) * 3_600_000 - 1_000).toISOString();
    if ((await action.run({ id, until })) !== undefined) onClose();
  };
  return (
    <Dialog title={words.pause} onClose={onClose}>
      <Form
        onSubmit={pause}
        failure={action.failure}
        actions={<FormButtons submit={words.pause} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <p>{words.pauseHint}</p>
        <SelectField
          label={words.pauseFor}
          value={hours}
          onChange={setHours}
          options={PAUSE_HOURS.map((each) => ({ value: String(each), name: words.pauseHours(each) }))}
        />
      </Form>
    </Dialog>
  );
}

type DialogProps = { readonly subscription: SubscriptionDetails; readonly onClose: () => void };

function Edit({ subscription, onClose }: DialogProps) {
  const action = useAction(UpdateSubscriptionDocument, (data) => data.updateWebhookSubscription);
  // The form has the values of this version: another person's change meanwhile is not overwritten.
  const [ifUnchangedSince] = useState(subscription.updatedAt);
  return (
    <Dialog title={words.edit} onClose={onClose}>
      <SubscriptionForm
        initial={valuesOf(subscription)}
        hasTenant={false}
        submit={messages.save}
        action={action}
        onClose={onClose}
        onSubmit={async (input) => {
          if ((await action.run({ id: subscription.id, input, ifUnchangedSince })) !== undefined) onClose();
        }}
      />
    </Dialog>
  );
}

function Deactivate({ subscription: { id, health }, onClose }: DialogProps) {
  const action = useAction(UpdateSubscriptionDocument, (data) => data.updateWebhookSubscription);
  return (
    <Confirm
      title={words.deactivate}
      confirm={words.deactivate}
      action={action}
      onClose={onClose}
      onConfirm={async () => {
        if ((await action.run({ id, input: { isActive: false } })) !== undefined) onClose();
      }}
    >
      {words.deactivateHint(health)}
    </Confirm>
  );
}

function Delete({ subscription, onClose }: DialogProps) {
  const [, navigate] = useLocation();
  const action = useAction(DeleteSubscriptionDocument, (data) => data.deleteWebhookSubscription);
  const host = splitUrl(subscription.url)?.host;
  return (
    <Confirm
      {...(IS_PORTAL && host !== undefined && { typed: { label: words.typeHost(host), text: host } })}
      title={words.delete}
      confirm={words.delete}
      action={action}
      onClose={onClose}
      onConfirm={async () => {
        if ((await action.run({ id: subscription.id })) !== undefined) navigate(paths.subscriptions());
      }}
    >
      {words.deleteHint(subscription.health)}
    </Confirm>
  );
}
