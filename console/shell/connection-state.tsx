import { connection } from '../graphql/connection.ts';
import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { countdown } from '../ui/format.ts';
import { useNow } from '../ui/time.tsx';
import styles from './connection-state.module.css';

/** The state of the pushed updates: a dot and a word. */
export function ConnectionState() {
  const current = useStore(connection);
  const words = messages.connection;
  if (current.state === 'idle') return null;
  if (current.state === 'reconnecting') return <Reconnecting since={current.since} />;
  const kind = { live: styles.live, connecting: styles.waiting, ended: styles.failed }[current.state];
  return (
    <span className={`${styles.state} ${kind}`} role="status">
      {words[current.state]}
    </span>
  );
}

function Reconnecting({ since }: { readonly since: number }) {
  const now = useNow();
  return (
    <span className={`${styles.state} ${styles.waiting}`} title={messages.connection.reconnectingHint}>
      {messages.connection.reconnecting(countdown(now - since))}
      <span className={styles.hint}>{messages.connection.reconnectingHint}</span>
    </span>
  );
}
