import { type ReactNode, type SubmitEvent, useId, useState } from 'react';
import { GRAPHQL_URL } from '../graphql/connection.ts';
import { messages } from '../messages.ts';
import { Button } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { signIn } from './session.ts';
import styles from './sign-in.module.css';

type Refusal = 'refused' | 'cannotRead' | 'unreachable';

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

/** Over a page whose key is no longer valid: the page stays as it is. */
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
  const [refusal, setRefusal] = useState<Refusal>();
  const [isChecking, setChecking] = useState(false);
  const id = useId();
  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const value = new FormData(event.currentTarget).get('key');
    const key = typeof value === 'string' ? value.trim() : '';
    if (key === '') return;
    setChecking(true);
    const problem = await check(key);
    setChecking(false);
    setRefusal(problem);
    if (problem === undefined) signIn(key);
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
            {messages.signIn[refusal]}
          </>
        )}
      </p>
      <Button kind="primary" type="submit" disabled={isChecking}>
        {isChecking ? messages.signIn.submitting : messages.signIn.submit}
      </Button>
    </form>
  );
}

/** Resolves with the reason why the key cannot be used here; undefined if it can. */
async function check(key: string): Promise<Refusal | undefined> {
  // Headers are Latin-1 without controls: other characters make fetch throw.
  if (!/^[\x21-\x7e]+$/.test(key)) return 'refused';
  try {
    const response = await fetch(GRAPHQL_URL, {
      method: 'POST',
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ query: '{ deliveryLog(first: 1) { pageInfo { hasNextPage } } }' }),
    });
    if (response.status === 401) return 'refused';
    // `as`: the server's own answer.
    const { errors = [] } = (await response.json()) as { errors?: readonly { extensions?: { code?: string } }[] };
    const codes = errors.map(({ extensions }) => extensions?.code);
    if (codes.includes('UNAUTHENTICATED')) return 'refused';
    if (codes.includes('FORBIDDEN')) return 'cannotRead';
    return errors.length > 0 ? 'unreachable' : undefined;
  } catch {
    return 'unreachable';
  }
}
