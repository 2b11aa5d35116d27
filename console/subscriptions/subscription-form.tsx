import { useRef } from 'react';
import type { Action } from '../graphql/use-action.ts';
import { Button, IconButton } from '../ui/button.tsx';
import { FieldSet, Form, FormButtons, TextAreaField, TextField } from '../ui/field.tsx';
import { listed } from '../ui/problems.ts';
import { type FieldState, useForm } from '../ui/use-form.ts';
import { type FormValues, readForm, withoutEmptyRows } from './form-values.ts';
import { subscriptionFormWords as words } from './messages.ts';
import styles from './subscription-form.module.css';

type SubscriptionFormProps = {
  readonly initial: FormValues;
  /** Whether the tenant can be chosen. */
  readonly hasTenant: boolean;
  readonly submit: string;
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  readonly onSubmit: (settings: ReturnType<typeof readForm>['settings'], values: FormValues) => Promise<void>;
  readonly onClose: () => void;
};

/** The settings of a subscription. All problems are shown at once, each at its field. */
export function SubscriptionForm({ initial, hasTenant, submit, action, onSubmit, onClose }: SubscriptionFormProps) {
  const form = useForm(initial, action);
  const { values } = form;
  const send = () => {
    const filled = withoutEmptyRows(values);
    form.field('headers').onChange(filled.headers);
    const { settings, problems } = readForm(filled);
    return form.check(problems) ? onSubmit(settings, filled) : undefined;
  };
  const field = (name: Exclude<keyof FormValues, 'headers'>) => ({ ...form.field(name), label: words[name] });
  return (
    <Form
      form={form.state}
      onSubmit={send}
      actions={<FormButtons submit={submit} isDisabled={action.isRunning} onDismiss={onClose} />}
    >
      {hasTenant && <TextField {...field('tenant')} required />}
      <TextField {...field('url')} type="url" placeholder="https://example.com/webhooks" hint={words.urlHint} />
      <TextField {...field('description')} />
      <TextAreaField {...field('eventTypes')} entries={listed(values.eventTypes)} hint={words.eventTypesHint} />
      <TextAreaField {...field('filter')} rows={5} hint={words.filterHint} />
      <Headers {...form.field('headers')} stored={initial.headers} />
      <div className={styles.numbers}>
        <TextField {...field('timeoutMs')} inputMode="numeric" />
        <TextField {...field('maxInFlight')} inputMode="numeric" />
        <TextField {...field('rateLimitPerSecond')} inputMode="numeric" placeholder={words.noLimit} />
      </div>
    </Form>
  );
}

type Header = FormValues['headers'][number];
type HeadersProps = FieldState<readonly Header[]> & {
  /** The headers of the subscription, whose values are never read back. */
  readonly stored: readonly Header[];
};

/** The custom headers: a name and a value in each row. */
function Headers({ value, problems, path, onChange, stored }: HeadersProps) {
  const add = useRef<HTMLButtonElement>(null);
  const change = (index: number, part: Partial<Header>) =>
    onChange(value.map((header, each) => (each === index ? { ...header, ...part } : header)));
  return (
    <FieldSet label={words.headers} hint={words.headersHint} path={path} problems={problems}>
      <div className={styles.headers}>
        {value.map((header, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a row has no identity but its place
          <div key={index} className={styles.header}>
            <TextField
              hidesLabel
              label={words.headerName(index + 1)}
              placeholder={words.name}
              autoFocus={header.name === ''}
              path={`${path}.${index}.name`}
              problems={problems}
              value={header.name}
              onChange={(name) => change(index, { name })}
            />
            <TextField
              hidesLabel
              label={words.headerValue(index + 1)}
              placeholder={stored.some(({ name }) => name === header.name) ? words.keepsValue : words.value}
              path={`${path}.${index}.value`}
              problems={problems}
              value={header.value}
              onChange={(text) => change(index, { value: text })}
            />
            <IconButton
              icon="close"
              label={words.removeHeader(header.name, index + 1)}
              onClick={() => {
                onChange(value.filter((_, each) => each !== index));
                add.current?.focus();
              }}
            />
          </div>
        ))}
        <span>
          <Button ref={add} icon="plus" onClick={() => onChange([...value, { name: '', value: '' }])}>
            {words.addHeader}
          </Button>
        </span>
      </div>
    </FieldSet>
  );
}
