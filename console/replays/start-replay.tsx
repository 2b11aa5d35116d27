import { useState } from 'react';
import { useLocation } from 'wouter';
import { deliveriesWords } from '../deliveries/messages.ts';
import { StartReplayDocument } from '../generated/graphql.ts';
import { type InputProblem, useAction } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextField } from '../ui/field.tsx';
import { replaysWords as words } from './messages.ts';
import { readReplayForm } from './replay-form.ts';

type StartReplayProps = {
  readonly tenant: string;
  /** The subscription whose deliveries are replayed; undefined: all of the tenant. */
  readonly subscriptionId?: string;
  readonly onClose: () => void;
};

/** Counts the deliveries first; the replay starts with the same input. */
export function StartReplay({ tenant, subscriptionId, onClose }: StartReplayProps) {
  const { isAdmin } = useViewer();
  const [, navigate] = useLocation();
  const [values, setValues] = useState({
    tenant,
    status: 'FAILURE',
    types: '',
    hours: '24',
    subscription: subscriptionId ?? '',
    rate: '50',
  });
  const [counted, setCounted] = useState<number>();
  const [ownProblems, setOwnProblems] = useState<readonly InputProblem[]>([]);
  const [range] = useState(() => Date.now());
  const action = useAction(StartReplayDocument, (data) => data.startReplay);
  const problems = [...ownProblems, ...(action.failure?.problems ?? [])];
  const set = (name: keyof typeof values) => (value: string) => {
    setValues({ ...values, [name]: value });
    setCounted(undefined);
  };
  const submit = async () => {
    const { input, problems: found } = readReplayForm(values, { nowMs: range, isAdmin });
    setOwnProblems(found);
    if (found.length > 0) return;
    const payload = await action.run({ input: { ...input, dryRun: counted === undefined } });
    if (payload === undefined) return;
    if (counted === undefined) setCounted(payload.replay.deliveryCount);
    else navigate(paths.replay(payload.replay.id));
  };
  return (
    <Dialog title={words.start} onClose={onClose}>
      <Form
        onSubmit={submit}
        failure={action.failure}
        actions={
          <FormButtons
            submit={counted === undefined ? words.count : words.startCounted(counted)}
            isDisabled={action.isRunning || counted === 0}
            onDismiss={onClose}
          />
        }
      >
        <p>{words.startHint}</p>
        {isAdmin && (
          <TextField
            label={messages.columns.tenant}
            path="filter.tenant"
            problems={problems}
            value={values.tenant}
            onChange={set('tenant')}
          />
        )}
        <SelectField
          label={messages.columns.status}
          value={values.status}
          onChange={set('status')}
          options={[
            { value: 'FAILURE', name: messages.deliveryStatuses.FAILURE },
            { value: 'CANCELLED', name: messages.deliveryStatuses.CANCELLED },
            { value: 'SUCCESS', name: messages.deliveryStatuses.SUCCESS },
            { value: '', name: deliveriesWords.all },
          ]}
        />
        <SelectField
          label={words.period}
          value={values.hours}
          onChange={set('hours')}
          options={[1, 6, 24, 72, 168, 720].map((hours) => ({ value: String(hours), name: words.lastHours(hours) }))}
        />
        <TextField
          label={words.types}
          hint={words.typesHint}
          path="filter.eventTypes"
          problems={problems}
          value={values.types}
          onChange={set('types')}
        />
        <TextField
          label={words.subscription}
          hint={words.subscriptionHint}
          path="filter.subscriptionIds"
          problems={problems}
          value={values.subscription}
          onChange={set('subscription')}
        />
        <TextField
          label={words.rate}
          path="ratePerSecond"
          problems={problems}
          inputMode="numeric"
          value={values.rate}
          onChange={set('rate')}
        />
        <p role="status">{counted === undefined ? '' : words.counted(counted)}</p>
      </Form>
    </Dialog>
  );
}
