import { useState } from 'react';
import type { Action, InputProblem } from '../graphql/use-action.ts';
import { Button, IconButton } from '../ui/button.tsx';
import fieldStyles from '../ui/field.module.css';
import { Field, Form, FormButtons, TextAreaField, TextField } from '../ui/field.tsx';
import { type FormValues, readForm } from './form-values.ts';
import { subscriptionFormWords as words } from './messages.ts';
import styles from './subscription-form.module.css';

type SubscriptionFormProps = {
  readonly initial: FormValues;
  /** Whether the tenant can be chosen. */
  readonly hasTenant: boolean;
  readonly submit: string;
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  readonly onSubmit: (settings: ReturnType<typeof readForm>['settings'], values: FormValues) => void;
  readonly onClose: () => void;
};

/** The settings of a subscription. All problems are shown at once, each at its field. */
export function SubscriptionForm({ initial, hasTenant, submit, action, onSubmit, onClose }: SubscriptionFormProps) {
  const [values, setValues] = useState(initial);
  const [ownProblems, setOwnProblems] = useState<readonly InputProblem[]>([]);
  const problems = [...ownProblems, ...(action.failure?.problems ?? [])];
  const set = (name: keyof FormValues) => (value: string) => setValues({ ...values, [name]: value });
  const send = () => {
    const read = readForm(values);
    setOwnProblems(read.problems);
    if (read.problems.length === 0) onSubmit(read.settings, values);
  };
  const field = (path: Exclude<keyof FormValues, 'headers'>) => ({
    path,
    problems,
    label: words[path],
    value: values[path],
    onChange: set(path),
  });
  return (
    <Form
      onSubmit={send}
      failure={action.failure}
      actions={<FormButtons submit={submit} isDisabled={action.isRunning} onDismiss={onClose} />}
    >
      {hasTenant && <TextField {...field('tenant')} required />}
      <TextField {...field('url')} type="url" placeholder="https://example.com/webhooks" hint={words.urlHint} />
      <TextField {...field('description')} />
      <TextAreaField {...field('eventTypes')} hint={words.eventTypesHint} />
      <TextAreaField {...field('filter')} rows={5} hint={words.filterHint} />
      <Headers value={values.headers} problems={problems} onChange={(headers) => setValues({ ...values, headers })} />
      <div className={styles.numbers}>
        <TextField {...field('timeoutMs')} inputMode="numeric" />
        <TextField {...field('maxInFlight')} inputMode="numeric" />
        <TextField {...field('rateLimitPerSecond')} inputMode="numeric" placeholder={words.noLimit} />
      </div>
    </Form>
  );
}

type HeadersProps = {
  readonly value: FormValues['headers'];
  readonly problems: readonly InputProblem[];
  readonly onChange: (headers: FormValues['headers']) => void;
};

/** The custom headers; values are never read back, so a stored one is shown as kept. */
function Headers({ value, problems, onChange }: HeadersProps) {
  const change = (index: number, part: Partial<FormValues['headers'][number]>) =>
    onChange(value.map((header, each) => (each === index ? { ...header, ...part } : header)));
  return (
    <Field label={words.headers} hint={words.headersHint} path="headers" problems={problems}>
      {(described) => (
        <div className={styles.headers} role="group" aria-describedby={described['aria-describedby']}>
          {value.map((header, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a row has no identity but its place
            <div key={index} className={styles.header}>
              <input
                className={fieldStyles.control}
                aria-label={words.headerName}
                placeholder={words.headerName}
                spellCheck={false}
                value={header.name}
                onChange={(event) => change(index, { name: event.target.value })}
              />
              <input
                className={fieldStyles.control}
                aria-label={words.headerValue}
                placeholder={words.keepsValue}
                spellCheck={false}
                autoComplete="off"
                value={header.value}
                onChange={(event) => change(index, { value: event.target.value })}
              />
              <IconButton
                icon="close"
                label={words.removeHeader(header.name)}
                onClick={() => onChange(value.filter((_, each) => each !== index))}
              />
            </div>
          ))}
          <span>
            <Button id={described.id} icon="plus" onClick={() => onChange([...value, { name: '', value: '' }])}>
              {words.addHeader}
            </Button>
          </span>
        </div>
      )}
    </Field>
  );
}
