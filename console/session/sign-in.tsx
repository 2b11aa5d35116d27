import { type ReactNode, type SubmitEvent, useId, useState } from 'react';
import { messages } from '../messages.ts';
import { Button } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { exchangeKey, takeCode } from './request.ts';
import { signIn } from './session.ts';
import styles from './sign-in.module.css';

/** The page before a key is given. */
export function SignInPage() {
  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <p className={styles.product}>{messages.product}</p>
        <h1>{messages.signIn.title}</h1>
        <SignInForm>
          <p className={styles.hint}>{messages.signIn.hint}</p>
        </SignInForm>
        <p className={styles.where}>
          {messages.signIn.where}
          <code>{messages.signIn.command}</code>
        </p>
      </div>
    </main>
  );
}

/** Shown over a page whose key is no longer valid. The page below does not change. */
export function SignInAgain() {
  return (
    <div className={styles.again} role="alertdialog" aria-label={messages.signIn.title}>
      <SignInForm>
        <p>{messages.signIn.ended}</p>
      </SignInForm>
    </div>
  );
}

function SignInForm({ children }: { readonly children: ReactNode }) {
  const [refusal, setRefusal] = useState<string>();
  const [isChecking, setChecking] = useState(false);
  const id = useId();
  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const value = new FormData(form).get('key');
    const key = typeof value === 'string' ? value.trim() : '';
    if (key === '') return;
    setChecking(true);
    const result = await exchangeKey(key);
    setChecking(false);
    setRefusal('refusal' in result ? result.refusal : undefined);
    if ('token' in result) {
      // A code that could not be exchanged before must not replace this session after a reload.
      takeCode();
      signIn(result.token);
    } else form.querySelector('input')?.focus();
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      {children}
      <label htmlFor={id}>{messages.signIn.label}</label>
      <input
        id={id}
        name="key"
        type="password"
        autoComplete="off"
        spellCheck={false}
        required
        autoFocus
        aria-invalid={refusal !== undefined}
        aria-describedby={`${id}-problem`}
      />
      <p id={`${id}-problem`} role="alert" className={styles.problem}>
        {refusal !== undefined && (
          <>
            <Icon name="rejected" />
            {refusal}
          </>
        )}
      </p>
      <Button kind="primary" type="submit" disabled={isChecking}>
        {isChecking ? messages.signIn.submitting : messages.signIn.submit}
      </Button>
    </form>
  );
}
