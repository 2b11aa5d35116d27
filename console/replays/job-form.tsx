import { type ReactNode, useState } from 'react';
import type { DeliveryStatus } from '../generated/graphql.ts';
import type { Action } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextField } from '../ui/field.tsx';
import { listed } from '../ui/problems.ts';
import { useForm } from '../ui/use-form.ts';
import { useResultFor } from '../ui/use-result-for.ts';
import { type JobFormValues, type JobInput, readJobForm } from './job-form-values.ts';
import { replaysWords as words } from './messages.ts';

type JobFormProps<Job extends Counted> = {
  readonly title: string;
  readonly hint: string;
  /** The text of the button after the deliveries were counted. */
  readonly startCounted: (deliveries: number) => string;
  readonly kind?: 'primary' | 'danger';
  /** The statuses to choose from; an empty one means all. */
  readonly statuses: readonly (DeliveryStatus | '')[];
  readonly initial: Omit<JobFormValues, 'hours'>;
  /** Shown if no delivery was counted. */
  readonly noneHint?: string;
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  /** Counts or starts; undefined: the action failed. */
  readonly run: (input: JobInput & { readonly dryRun: boolean }) => Promise<Job | undefined>;
  /** Details of the counted deliveries. */
  readonly describe?: (counted: Job) => ReactNode;
  readonly onStarted: (id: string) => void;
  readonly onClose: () => void;
};

type Counted = { readonly id: string; readonly deliveryCount: number };

/** The deliveries of a job by a filter: they are counted first, and the job starts with the same input. */
export function JobForm<Job extends Counted>(props: JobFormProps<Job>) {
  const { title, hint, startCounted, kind = 'primary', statuses, initial, describe, noneHint } = props;
  const { action, run, onStarted, onClose } = props;
  const { isAdmin } = useViewer();
  const { values, field, check, state } = useForm<JobFormValues>({ ...initial, hours: '24' }, action);
  const [openedAt] = useState(() => Date.now());
  const { input, problems } = readJobForm(values, { nowMs: openedAt, isAdmin });
  const { result: counted, setResult: setCounted } = useResultFor<Job>(input);
  const submit = async () => {
    if (!check(problems)) return;
    const payload = await run({ ...input, dryRun: counted === undefined });
    if (payload === undefined) return;
    if (counted === undefined) setCounted(payload);
    else onStarted(payload.id);
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <Form
        form={state}
        onSubmit={submit}
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
        {isAdmin && <TextField {...field('tenant', 'filter.tenant')} label={messages.columns.tenant} />}
        <SelectField
          {...field('status', 'filter.statuses')}
          label={messages.columns.status}
          options={statuses.map((value) => ({
            value,
            name: value === '' ? words.all : messages.deliveryStatuses[value],
          }))}
        />
        <SelectField
          {...field('hours', 'filter.from')}
          label={words.period}
          options={[1, 6, 24, 72, 168, 720].map((hours) => ({ value: String(hours), name: words.lastHours(hours) }))}
        />
        <TextField
          {...field('types', 'filter.eventTypes')}
          entries={listed(values.types)}
          label={words.types}
          hint={words.typesHint}
        />
        <TextField
          {...field('subscription', 'filter.subscriptionIds')}
          label={words.subscription}
          hint={words.subscriptionHint}
        />
        <TextField {...field('rate', 'ratePerSecond')} label={words.rate} inputMode="numeric" />
        <p role="status">{counted === undefined ? '' : words.counted(counted.deliveryCount)}</p>
        {counted?.deliveryCount === 0 && noneHint !== undefined && <p>{noneHint}</p>}
        {counted !== undefined && describe?.(counted)}
      </Form>
    </Dialog>
  );
}
