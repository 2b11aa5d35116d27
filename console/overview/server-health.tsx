import { useEffect } from 'react';
import { useQuery } from 'urql';
import { ServerHealthDocument } from '../generated/graphql.ts';
import { connection } from '../graphql/connection.ts';
import { useStore } from '../graphql/store.ts';
import { Button } from '../ui/button.tsx';
import { Mark } from '../ui/outcome.tsx';
import { describeError } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { healthInWords } from './health-in-words.ts';
import { healthWords as words } from './messages.ts';
import styles from './server-health.module.css';

/**
 * The state of the server, for operators. No change of it is pushed: it is read with each answer of the page around it, when
 * the connection breaks, and when it is back. So it shows when it was read.
 */
export function ServerHealth({ answer }: { readonly answer: unknown }) {
  const isReconnecting = useStore(connection).state === 'reconnecting';
  const [{ data, error, fetching }, execute] = useQuery({ query: ServerHealthDocument, pause: true });
  useEffect(() => {
    execute({ requestPolicy: 'network-only' });
  }, [execute, answer, isReconnecting]);
  const server = error === undefined ? data?.server : undefined;
  const health = server?.health == null ? undefined : healthInWords(server.health);
  return (
    <section className={styles.health} aria-label={words.title}>
      <div role="status">
        {error !== undefined && (
          <Mark tone="failure" wraps detail={error.networkError === undefined ? describeError(error) : words.noAnswer}>
            {words.notKnown}
          </Mark>
        )}
        {health !== undefined && <Mark tone={health.tone}>{health.summary}</Mark>}
        {health !== undefined && health.problems.length > 0 && (
          <ul>
            {health.problems.map(({ part, tone, text }) => (
              <li key={`${part} ${text}`}>
                <Mark tone={tone} wraps detail={visibleLine(text)}>
                  {part}
                </Mark>
              </li>
            ))}
          </ul>
        )}
      </div>
      <span className={styles.read}>
        {server !== undefined && (
          <span>
            {words.version(server.version)} <Time at={server.time} />
          </span>
        )}
        <Button kind="quiet" disabled={fetching} onClick={() => execute({ requestPolicy: 'network-only' })}>
          {words.checkAgain}
        </Button>
      </span>
    </section>
  );
}
