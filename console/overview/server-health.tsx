import { useCallback, useEffect, useState } from 'react';
import { type CombinedError, useQuery } from 'urql';
import { type HealthFragment, ServerHealthDocument, ServerProcessesDocument } from '../generated/graphql.ts';
import { connection } from '../graphql/connection.ts';
import { serverHealth } from '../graphql/server-health.ts';
import { useStore } from '../graphql/store.ts';
import { Button } from '../ui/button.tsx';
import { Mark } from '../ui/outcome.tsx';
import { describeError } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { type HealthInWords, healthInWords, processesInWords } from './health-in-words.ts';
import { healthWords as words } from './messages.ts';
import { Processes } from './processes.tsx';
import styles from './server-health.module.css';

/**
 * The state of the server and its processes, for operators. The state is pushed while there is a connection. It is also read, with
 * the version and the other processes: with each answer of the page around it, when the connection breaks or is back, and when
 * a part breaks or works again. So the page shows when it was read.
 */
export function ServerHealth({ answer }: { readonly answer: unknown }) {
  const [{ data, error, fetching }, readHealth] = useQuery({ query: ServerHealthDocument, pause: true });
  // An operation of its own: asking the other processes takes up to a second.
  const [{ data: found }, readProcesses] = useQuery({ query: ServerProcessesDocument, pause: true });
  const read = useCallback(() => {
    readHealth({ requestPolicy: 'network-only' });
    readProcesses({ requestPolicy: 'network-only' });
  }, [readHealth, readProcesses]);
  const reason = useReasonToRead();
  useEffect(read, [read, answer, reason]);
  const [isOpen, setOpen] = useState(false);
  const server = error === undefined ? data?.server : undefined;
  const health = useHealthInWords(server?.health);
  const list = error === undefined ? found?.server.processes : undefined;
  // One process is the one whose state the page shows anyway.
  const processes = list != null && list.nodes.length > 1 ? { ...list, ...processesInWords(list) } : undefined;
  return (
    <section className={styles.server} aria-label={words.title}>
      <div className={styles.health}>
        <div role="status">
          {error !== undefined && health === undefined && <Unknown error={error} />}
          {health !== undefined && <Health {...health} />}
        </div>
        <span className={styles.read}>
          {processes !== undefined && (
            <Button
              kind={TONE_BUTTONS[processes.tone]}
              icon="chevron"
              aria-expanded={isOpen}
              onClick={() => setOpen(!isOpen)}
            >
              {processes.summary}
            </Button>
          )}
          {server !== undefined && (
            <span>
              {words.version(server.version)} <Time at={server.time} />
            </span>
          )}
          <Button kind="quiet" disabled={fetching} onClick={read}>
            {words.checkAgain}
          </Button>
        </span>
      </div>
      {isOpen && processes !== undefined && <Processes {...processes} />}
    </section>
  );
}

/** Changes when the connection breaks or is back, and when a part of the server breaks or works again. */
function useReasonToRead(): string {
  const { state } = useStore(connection);
  const broken = useStore(serverHealth)?.parts.filter(({ isOk }) => !isOk) ?? [];
  return [state === 'reconnecting', ...broken.map(({ name }) => name)].join();
}

/** The pushed state while there is a connection, otherwise the one that was read. */
function useHealthInWords(read: HealthFragment | null | undefined): HealthInWords | undefined {
  const isLive = useStore(connection).state === 'live';
  const pushed = useStore(serverHealth);
  const health = (isLive ? pushed : undefined) ?? read;
  return health == null ? undefined : healthInWords(health);
}

const TONE_BUTTONS = { success: 'quiet', waiting: 'quiet', failure: 'danger' } as const;

function Unknown({ error }: { readonly error: CombinedError }) {
  return (
    <Mark tone="failure" wraps detail={error.networkError === undefined ? describeError(error) : words.noAnswer}>
      {words.notKnown}
    </Mark>
  );
}

function Health({ tone, summary, problems }: HealthInWords) {
  return (
    <>
      <Mark tone={tone}>{summary}</Mark>
      {problems.length > 0 && (
        <ul>
          {problems.map((problem) => (
            <li key={`${problem.part} ${problem.text}`}>
              <Mark tone={problem.tone} wraps detail={visibleLine(problem.text)}>
                {problem.part}
              </Mark>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
