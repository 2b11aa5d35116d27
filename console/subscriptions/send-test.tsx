import { useState } from 'react';
import { LastEventsButton } from '../events/last-events-button.tsx';
import { SendTestDocument, type SubscriptionSettingsFragment } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, TextAreaField, TextField } from '../ui/field.tsx';
import { parseJsonText } from '../ui/json-text.ts';
import { Link } from '../ui/link.tsx';
import { AttemptOutcome } from '../ui/outcome.tsx';
import { Body } from '../ui/text-block.tsx';
import { useForm } from '../ui/use-form.ts';
import { visibleText } from '../ui/visible-text.ts';
import { subscriptionWords, sendTestWords as words } from './messages.ts';
import styles from './send-test.module.css';

type SendTestProps = { readonly subscription: SubscriptionSettingsFragment; readonly onClose: () => void };

/** Sends a test event and shows the receiver's answer. */
export function SendTest({ subscription, onClose }: SendTestProps) {
  const action = useAction(SendTestDocument, (result) => result.sendTestEvent);
  const selected = subscription.eventTypes.find((type) => !type.includes('*')) ?? '';
  const { values, field, check, state } = useForm({ eventType: selected, data: '' }, action);
  const [result, setResult] = useState<Awaited<ReturnType<typeof action.run>>>();
  const send = async () => {
    const json = parseJsonText(values.data);
    check(json === undefined ? [{ path: 'data', message: messages.notJson }] : []);
    if (json === undefined) return;
    const eventType = values.eventType.trim();
    const payload = await action.run({
      id: subscription.id,
      ...(eventType !== '' && { eventType }),
      ...(json.value !== undefined && { data: json.value }),
    });
    setResult(payload);
  };
  return (
    <Dialog title={words.title} onClose={onClose}>
      <Form
        form={state}
        onSubmit={send}
        actions={
          <FormButtons
            submit={action.isRunning ? words.sending : words.send}
            isDisabled={action.isRunning}
            dismiss={messages.close}
            onDismiss={onClose}
          />
        }
      >
        <p>{words.hint}</p>
        <TextField {...field('eventType')} label={words.eventType} placeholder="webhook_subscription.test" />
        <TextAreaField {...field('data')} label={words.data} hint={words.dataHint} rows={5} />
        <LastEventsButton
          name={words.lastEvent}
          eventTypes={values.eventType.trim() === '' ? subscription.eventTypes : [values.eventType.trim()]}
          tenant={subscription.tenant}
          onEvents={([last]) => {
            field('eventType').onChange(last?.type ?? '');
            field('data').onChange(JSON.stringify(last?.data, undefined, 2));
          }}
        />
        <div aria-live="polite">{result !== undefined && <Answer result={result} />}</div>
      </Form>
    </Dialog>
  );
}

type Result = {
  readonly notice?: string | null;
  readonly delivery: { readonly id: string };
  readonly attempt?: {
    readonly status: 'SUCCESS' | 'FAILURE';
    readonly statusCode?: number | null;
    readonly failureReason?: string | null;
    readonly errorMessage?: string | null;
    readonly responseTimeMs: number;
    readonly responseBody?: string | null;
  } | null;
};

function Answer({ result: { attempt, delivery, notice } }: { readonly result: Result }) {
  return (
    <div className={styles.answer}>
      <p className={styles.line}>
        {attempt == null ? (
          words.notYet
        ) : (
          <>
            <AttemptOutcome {...attempt} /> {subscriptionWords.ms(attempt.responseTimeMs)}
          </>
        )}
        <Link to={paths.delivery(delivery.id)}>{words.open}</Link>
      </p>
      {attempt?.errorMessage != null && <p>{visibleText(attempt.errorMessage)}</p>}
      {notice != null && <p>{notice}</p>}
      {attempt?.responseBody != null && attempt.responseBody !== '' && (
        <Body text={attempt.responseBody} label={messages.delivery.response} />
      )}
    </div>
  );
}
