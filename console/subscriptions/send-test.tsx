import { useState } from 'react';
import { SendTestDocument, type SubscriptionSettingsFragment } from '../generated/graphql.ts';
import { type InputProblem, useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, TextAreaField, TextField } from '../ui/field.tsx';
import { parseJsonText } from '../ui/json-text.ts';
import { Link } from '../ui/link.tsx';
import { AttemptOutcome } from '../ui/outcome.tsx';
import { Body } from '../ui/text-block.tsx';
import { visibleText } from '../ui/visible-text.ts';
import { subscriptionWords, sendTestWords as words } from './messages.ts';
import styles from './send-test.module.css';

type SendTestProps = { readonly subscription: SubscriptionSettingsFragment; readonly onClose: () => void };

/** Sends a test event and shows the receiver's answer. */
export function SendTest({ subscription, onClose }: SendTestProps) {
  const [eventType, setEventType] = useState(() => subscription.eventTypes.find((type) => !type.includes('*')) ?? '');
  const [data, setData] = useState('');
  const [problems, setProblems] = useState<readonly InputProblem[]>([]);
  const action = useAction(SendTestDocument, (result) => result.sendTestEvent);
  const [result, setResult] = useState<Awaited<ReturnType<typeof action.run>>>();
  const send = async () => {
    const json = parseJsonText(data);
    setProblems(json === undefined ? [{ path: 'data', message: messages.notJson }] : []);
    if (json === undefined) return;
    const payload = await action.run({
      id: subscription.id,
      ...(eventType.trim() !== '' && { eventType: eventType.trim() }),
      ...(json.value !== undefined && { data: json.value }),
    });
    setResult(payload);
  };
  const all = [...problems, ...(action.failure?.problems ?? [])];
  return (
    <Dialog title={words.title} onClose={onClose}>
      <Form
        onSubmit={send}
        failure={action.failure}
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
        <TextField
          label={words.eventType}
          placeholder="webhook_subscription.test"
          path="eventType"
          problems={all}
          value={eventType}
          onChange={setEventType}
        />
        <TextAreaField
          label={words.data}
          hint={words.dataHint}
          path="data"
          problems={all}
          rows={5}
          value={data}
          onChange={setData}
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
