import { useState } from 'react';
import { useClient } from 'urql';
import { VerifySignatureDocument, type VerifySignatureQuery } from '../generated/graphql.ts';
import type { InputProblem } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextAreaField } from '../ui/field.tsx';
import { Id } from '../ui/id.tsx';
import { Mark } from '../ui/outcome.tsx';
import { problemsOf } from '../ui/states.tsx';
import { useForm } from '../ui/use-form.ts';
import { useResultFor } from '../ui/use-result-for.ts';
import { verifySignatureWords as words } from './messages.ts';
import { readReceivedHeaders } from './received-headers.ts';
import styles from './verify-signature.module.css';

type Verification = VerifySignatureQuery['verifySignature'];

type VerifySignatureProps = { readonly attemptId: string; readonly onClose: () => void };

type VerifyValues = { readonly headers: string; readonly body: string; readonly encoding: 'text' | 'base64' };

/** Verifies a received request like the receiver's library. The server verifies, so the browser gets no secret. */
export function VerifySignature({ attemptId, onClose }: VerifySignatureProps) {
  const client = useClient();
  const [isRunning, setRunning] = useState(false);
  const { values, field, check, state } = useForm<VerifyValues>({ headers: '', body: '', encoding: 'text' });
  const { result, setResult } = useResultFor<Verification>(values);
  const verify = async () => {
    const { headers, missing } = readReceivedHeaders(values.headers);
    if (!check(missing.length === 0 ? [] : [{ path: 'headers', message: words.missing(missing) }])) return;
    setRunning(true);
    const body = values.encoding === 'text' ? { body: values.body } : { bodyBase64: values.body };
    const input = { attemptId, ...headers, ...body };
    const { data, error } = await client.query(VerifySignatureDocument, { input }, NOT_CACHED).toPromise();
    setRunning(false);
    setResult(data?.verifySignature);
    check(problemsOf(error, 'headers').map(atField));
  };
  return (
    <Dialog title={words.title} onClose={onClose}>
      <Form
        form={state}
        onSubmit={verify}
        actions={
          <FormButtons
            submit={words.verify}
            isDisabled={isRunning}
            dismiss={result === undefined ? messages.dismiss : messages.close}
            onDismiss={onClose}
          />
        }
      >
        <p>{words.hint}</p>
        <TextAreaField {...field('headers')} label={words.headers} hint={words.headersHint} rows={4} />
        <TextAreaField {...field('body')} label={words.body} hint={words.bodyHint} rows={6} />
        <SelectField
          {...field('encoding')}
          label={words.encoding}
          options={[
            { value: 'text', name: words.asText },
            { value: 'base64', name: words.asBase64 },
          ]}
        />
        <div aria-live="polite">{result !== undefined && <Result result={result} />}</div>
      </Form>
    </Dialog>
  );
}

const NOT_CACHED = { requestPolicy: 'network-only' } as const;

/** Maps a problem of the server's input to a field of the form, which has fewer fields. */
function atField({ path, message }: InputProblem): InputProblem {
  return { path: path.replace(/^input\./, '').startsWith('body') ? 'body' : 'headers', message };
}

function Result({ result: { isValid, secretId, failures } }: { readonly result: Verification }) {
  return (
    <div className={styles.result}>
      <Mark tone={isValid ? 'success' : 'failure'} wraps>
        {isValid ? words.valid : words.invalid}
      </Mark>
      {failures.map(({ code, message }) => (
        <p key={message}>
          <strong>{words.failures[code]}</strong> {message}
        </p>
      ))}
      {secretId != null && (
        <p>
          {words.signedWith} <Id value={secretId} />
        </p>
      )}
    </div>
  );
}
