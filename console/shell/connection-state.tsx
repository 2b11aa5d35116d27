import type { HealthFragment } from '../generated/graphql.ts';
import { connection } from '../graphql/connection.ts';
import { serverHealth, useWatchServerHealth } from '../graphql/server-health.ts';
import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { countdown } from '../ui/format.ts';
import { Link } from '../ui/link.tsx';
import { useNow } from '../ui/time.tsx';
import styles from './connection-state.module.css';

/** The state of the pushed updates, and for operators that of the server: a dot and some words. */
export function ConnectionState() {
  const current = useStore(connection);
  useWatchServerHealth();
  const broken = useStore(serverHealth)?.parts.filter(({ isOk }) => !isOk);
  const words = messages.connection;
  if (current.state === 'idle') return null;
  if (current.state === 'reconnecting') return <Reconnecting since={current.since} />;
  if (current.state === 'live' && broken !== undefined && broken.length > 0) return <Broken parts={broken} />;
  const kind = { live: styles.live, connecting: styles.waiting, ended: styles.failed }[current.state];
  return (
    <span className={`${styles.state} ${kind}`} role="status">
      <span className={styles.text}>{words[current.state]}</span>
    </span>
  );
}

type Parts = HealthFragment['parts'];

/** The updates are pushed, but parts of the server do not work. */
function Broken({ parts }: { readonly parts: Parts }) {
  const names = parts.map(({ name }) => messages.serverParts[name] ?? name);
  const kind = parts.some(({ isNeeded }) => isNeeded) ? styles.failed : styles.waiting;
  return (
    <span className={`${styles.state} ${kind}`} role="status">
      <Link
        className={styles.text}
        to={paths.overview()}
        isForEveryTenant
        title={parts.map(({ message }) => message ?? '').join('\n')}
      >
        {messages.connection.broken(names)}
      </Link>
    </span>
  );
}

function Reconnecting({ since }: { readonly since: number }) {
  const now = useNow();
  return (
    <span className={`${styles.state} ${styles.waiting}`} title={messages.connection.reconnectingHint}>
      <span className={styles.text}>{messages.connection.reconnecting(countdown(now - since))}</span>
      <span className={styles.hint}>{messages.connection.reconnectingHint}</span>
    </span>
  );
}
