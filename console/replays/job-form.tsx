import { type ReactNode, useState } from 'react';
import type { Action, InputProblem } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextField } from '../ui/field.tsx';
import { replaysWords as words } from './messages.ts';
import { type JobInput, type ReplayForm, readReplayForm } from './replay-form.ts';

type JobFormProps<Job extends Counted> = {
  readonly title: string;
  readonly hint: string;
  /** The text of the button once the deliveries are counted. */
  readonly startCounted: (deliveries: number) => string;
  readonly kind?: 'primary' | 'danger';
  readonly statuses: readonly { readonly value: string; readonly name: string }[];
  readonly initial: Pick<ReplayForm, 'tenant' | 'subscription' | 'status' | 'rate'>;
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  /** Counts or starts; undefined: the action failed. */
  readonly run: (input: JobInput & { readonly dryRun: boolean }) => Promise<Job | undefined>;
  /** More about the counted deliveries than their number. */
  readonly describe?: (counted: Job) => ReactNode;
  readonly onStarted: (id: string) => void;
  readonly onClose: () => void;
};

type Counted = { readonly id: string; readonly deliveryCount: number };

/** The deliveries of a job by a filter: they are counted first, and the job starts with the same input. */
export function JobForm<Job extends Counted>(props: JobFormProps<Job>) {
  const { title, hint, startCounted, kind = 'primary', statuses, initial, describe } = props;
  const { action, run, onStarted, onClose } = props;
  const { isAdmin } = useViewer();
  const [values, setValues] = useState({ ...initial, types: '', hours: '24' });
  const [counted, setCounted] = useState<Job>();
  const [ownProblems, setOwnProblems] = useState<readonly InputProblem[]>([]);
  const [range] = useState(() => Date.now());
  const problems = [...ownProblems, ...(action.failure?.problems ?? [])];
  const set = (name: keyof typeof values) => (value: string) => {
    setValues({ ...values, [name]: value });
    setCounted(undefined);
  };
  const submit = async () => {
    const { input, problems: found } = readReplayForm(values, { nowMs: range, isAdmin });
    setOwnProblems(found);
    if (found.length > 0) return;
    const payload = await run({ ...input, dryRun: counted === undefined });
    if (payload === undefined) return;
    if (counted === undefined) setCounted(payload);
    else onStarted(payload.id);
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <Form
        onSubmit={submit}
        failure={action.failure}
        actions={
          <FormButtons
            submit={counted === undefined ? words.count : startCounted(counted.deliveryCount)}
            kind={counted === undefined ? 'primary' : kind}
            isDisabled={action.isRunning || counted?.deliveryCount === 0}
            onDismiss={onClose}
          />
        }
      >
        <p>{hint}</p>
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
          options={statuses}
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
        <p role="status">{counted === undefined ? '' : words.counted(counted.deliveryCount)}</p>
        {counted !== undefined && describe?.(counted)}
      </Form>
    </Dialog>
  );
}
