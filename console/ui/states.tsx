import type { ReactNode } from 'react';
import type { CombinedError } from 'urql';
import { isTemporary } from '../graphql/retry.ts';
import type { InputProblem } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { CopyIcon } from './copy.tsx';
import { Icon } from './icons.tsx';
import styles from './states.module.css';
import { visibleText } from './visible-text.ts';

type EmptyProps = { readonly title: string; readonly children?: ReactNode; readonly command?: string | undefined };

/** An empty list says why it is empty and shows the next command. */
export function EmptyState({ title, children, command }: EmptyProps) {
  return (
    <div className={styles.state}>
      <h2>{title}</h2>
      {children !== undefined && <p>{children}</p>}
      {command !== undefined && (
        <div className={styles.command}>
          <pre tabIndex={0}>{command}</pre>
          <CopyIcon text={command} label={messages.copyCommand} />
        </div>
      )}
    </div>
  );
}

type ErrorProps = { readonly error: CombinedError; readonly isRetried?: boolean; readonly children?: ReactNode };

/** A failed query: the server's message, and whether the query is tried again. */
export function ErrorState({ error, isRetried = isTemporary(error), children }: ErrorProps) {
  return (
    <div className={styles.state} role="alert">
      <h2 className={styles.failure}>
        <Icon name="rejected" /> {titleOf(error)}
      </h2>
      <p>{visibleText(describeError(error))}</p>
      {isRetried && <p>{messages.triedAgain}</p>}
      {children}
    </div>
  );
}

function titleOf(error: CombinedError): string {
  if (error.networkError !== undefined) return messages.serverUnreachable;
  return isTemporary(error) ? messages.noAnswerNow : messages.queryFailed;
}

/** The problems of the input that a failed query names; any other failure is one at `path`. */
export function problemsOf(error: CombinedError | undefined, path: string): readonly InputProblem[] {
  if (error === undefined) return [];
  // `as`: the server adds them to the errors about input.
  const problems = error.graphQLErrors.flatMap(({ extensions }) => (extensions.problems ?? []) as InputProblem[]);
  return problems.length > 0 ? problems : [{ path, message: describeError(error) }];
}

export function describeError({ graphQLErrors, networkError, message }: CombinedError): string {
  if (networkError !== undefined) return messages.networkHint;
  return graphQLErrors.map((each) => each.message).join(' ') || message;
}

type ObjectStateProps = {
  readonly error: CombinedError | undefined;
  readonly isLoading: boolean;
  /** There is no such object. */
  readonly title: string;
  readonly children: ReactNode;
};

/** In place of an object that is not there: the query failed, is running, or found nothing. */
export function ObjectState({ error, isLoading, title, children }: ObjectStateProps) {
  if (error !== undefined) return <ErrorState error={error} />;
  return isLoading ? <SkeletonRows /> : <EmptyState title={title}>{children}</EmptyState>;
}

/** The rows of a list that is loading, shown after 150 ms. */
export function SkeletonRows({ count = 8 }: { readonly count?: number }) {
  return (
    <div className={styles.skeleton} aria-hidden="true">
      {Array.from({ length: count }, (_, index) => (
        <div key={index}>
          <span />
        </div>
      ))}
    </div>
  );
}
